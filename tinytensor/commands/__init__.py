"""The commands of `python -m tinytensor`: each is the `main(words)` of a module."""
