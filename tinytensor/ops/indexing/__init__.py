"""Indexing ops: x[key], take, gather, scatter_add, masks, and triangles."""
