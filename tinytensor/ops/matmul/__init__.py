"""Matrix products, and ops built on them: linear layers, einsum, convolution, pooling."""
