"""Model definitions: GPT and its variants, encoder, encoder-decoder, and their layers."""
