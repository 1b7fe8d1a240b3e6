"""Interpretability: activations, attention maps, logit lens, loss per token, nearest neighbors, traces."""
