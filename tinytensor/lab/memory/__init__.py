"""Memory use by category over time, and the predicted savings of checkpointing."""
