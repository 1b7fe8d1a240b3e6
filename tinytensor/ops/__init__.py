"""All ops, one folder per family. Nothing is re-exported: `tinytensor.ops.elementwise.gelu` is a module."""
