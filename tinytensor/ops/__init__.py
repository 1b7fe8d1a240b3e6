"""All ops, one package per family. Nothing is re-exported: `tinytensor.ops.elementwise.gelu` is a module."""
