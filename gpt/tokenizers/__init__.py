"""Tokenizers: characters, byte-level BPE; files of Hugging Face and tiktoken."""
