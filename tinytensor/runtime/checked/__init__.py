"""checked."""
