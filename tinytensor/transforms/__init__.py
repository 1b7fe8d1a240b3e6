"""Functions of functions: gradients, checkpointing, autocast, anomaly detection."""
