"""The first day on a GPU: everything that only a card can tell, in nine steps, in at most 45 minutes.

    python -m benchmarks first_day OUT                      # all steps
    python -m benchmarks first_day OUT --calls              # prints calls of at most ten minutes instead
    python -m benchmarks first_day OUT --only machine bits  # these, added to what is in OUT
    python -m benchmarks first_day OUT --rehearse           # without a GPU: every step on two stand-ins

Each step is a process with a time limit, so that a fault, which makes a process lose its GPU, ends only its
step; what the step has found until then is kept. Steps do the most important work first. OUT gets
`first_day.json`, `first_day.md` and a log for each step.
"""
