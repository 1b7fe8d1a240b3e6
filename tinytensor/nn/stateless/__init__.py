"""Modules without parameters: each calls one function of `tinytensor.nn.functional`."""
