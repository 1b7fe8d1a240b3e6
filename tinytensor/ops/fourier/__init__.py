"""Fourier transforms through NumPy's pocketfft, on the CPU."""
