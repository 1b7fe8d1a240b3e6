"""Transforms: gradients, custom functions, gradcheck, checkpointing, autocast, capture, anomaly detection."""
