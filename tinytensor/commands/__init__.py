"""Command-line interface, `python -m tinytensor`: each command is the `main(words)` of a module."""
