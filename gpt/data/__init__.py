"""Corpora as files of token ids, and the batches that are drawn from them."""
