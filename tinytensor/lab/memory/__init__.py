"""Memory use by category over time."""
