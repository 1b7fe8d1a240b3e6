"""Replay of a checked launch, step by step: what each warp reads and writes, and where threads wait."""
