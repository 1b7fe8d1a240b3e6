"""Live view of training runs: follows their logs, and serves a page on this machine."""
