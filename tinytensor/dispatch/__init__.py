"""How ops run: `apply` checks operands, selects the kernel, runs it, and records the op for backward."""
