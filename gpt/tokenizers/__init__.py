"""Tokenizers: characters, words, byte-level BPE; files of Hugging Face and tiktoken."""
