"""Random number generation: counter-based (Philox), bitwise equal on every device for a seed."""
