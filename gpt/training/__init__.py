"""Training: loop, resumable runs, logs, evaluation, cost estimates, data parallelism."""
