"""Tests; run `python -m pytest tests`. The folders are those of the code."""

import os

FULL = os.environ.get("TINYTENSOR_FULL") == "1"  # all of what is sampled otherwise: `make full`
