"""Tables, charts and HTML pages of benchmark results."""
