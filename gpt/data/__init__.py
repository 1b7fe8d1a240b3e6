"""Token files, text preparation, and batch samplers."""
