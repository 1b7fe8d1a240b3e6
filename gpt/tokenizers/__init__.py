"""Tokenizers: characters, words, byte-level BPE; files of Hugging Face, tiktoken and SentencePiece."""
