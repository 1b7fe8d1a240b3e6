"""contest."""
