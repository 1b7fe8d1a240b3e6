"""Random numbers: the same on every device for the same seed."""
