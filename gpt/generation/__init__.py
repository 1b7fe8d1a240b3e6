"""Text generation: sampling, beam search, chat."""
