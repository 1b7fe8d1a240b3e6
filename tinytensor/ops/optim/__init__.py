"""The steps of optimizers on all parameters at once."""
