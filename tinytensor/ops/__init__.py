"""The catalogue of ops, one module per family. Nothing is re-exported here: `tinytensor.ops.gelu` is the
module.
"""
