"""Ops of neural networks that compute in one kernel: norms, losses, embedding, dropout."""
