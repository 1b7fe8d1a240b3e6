"""Checkpoints, and import and export of weights: safetensors, GGUF, Hugging Face."""
