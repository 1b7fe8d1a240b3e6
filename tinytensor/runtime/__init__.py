"""Runtimes: who owns the bytes of a device. This release runs on the host; see `host.py`."""
