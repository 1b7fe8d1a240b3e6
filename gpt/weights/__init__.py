"""Checkpoints, and weights from and to the files of others: safetensors, GGUF."""
