"""The first op at which two runs differ."""
