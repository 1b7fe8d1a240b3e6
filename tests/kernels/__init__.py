"""Tests of the .cu files: run in the emulator, compiled, and counted."""
