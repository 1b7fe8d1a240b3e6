"""All ops, one module per family. Nothing is re-exported: `tinytensor.ops.elementwise.gelu` is a
module.
"""
