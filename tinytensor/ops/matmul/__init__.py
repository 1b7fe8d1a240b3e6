"""Matrix products, and what is computed by them: linear layers, einsum, convolutions."""
