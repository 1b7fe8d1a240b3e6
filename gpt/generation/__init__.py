"""Text generation: sampling and chat."""
