"""A GPU that answers every call and computes nothing, to count what the engine asks of a card.

The real `CupyRuntime` runs on it, over a stand-in for CuPy, so a training step of GPT-2 on "cuda" takes a
fraction of a second on any machine. Counted are launches with their bytes and FLOPs, copies, waits of the
host, allocations, compilations, captures and replays. Results are all zeros. From the shell, one training
step by families of kernels:

    python -m benchmarks dry gpt2 --dtype bfloat16 --captured

The counts of eight training steps are in `tests/benchmarks/dry_steps.json`, and a test compares them. After a
change that alters them on purpose, `python -m tests.helpers.dry_steps` writes them again. From Python, in a
process that has not used CuPy:

    from benchmarks.dry_gpu.gpu import install
    gpu = install()                    # from now on `import cupy` gives the stand-in
    import tinytensor as tt
    x = tt.ones(1024, device="cuda")
    with gpu.counting() as counted:
        x + x
    counted.totals()["launches"]       # 1
"""
