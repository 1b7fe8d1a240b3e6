"""PyTorch's names of what has another name here, or takes a line of it; arguments are in its order."""
