"""Who holds memory, since when, and what checkpointing would save."""
