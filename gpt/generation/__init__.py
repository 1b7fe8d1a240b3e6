"""Text from a model: sampling, beam search, speculative decoding, chat."""
