"""Text to ids and back: characters, words, byte-pair encoding, and the files of other tokenizers."""
