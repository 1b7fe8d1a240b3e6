"""The kernel that an op launches: its source, and which thread computes what."""
