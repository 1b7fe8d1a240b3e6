"""GGUF, the format of llama.cpp: reading and writing, with architecture and tokenizer in the metadata."""
