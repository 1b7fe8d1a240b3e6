"""Op dispatch: checks operands, selects and runs the kernel, and records the op for backward."""
