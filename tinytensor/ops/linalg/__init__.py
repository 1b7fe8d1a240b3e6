"""Linear algebra through NumPy's LAPACK, on the CPU: factorizations, equations, determinants, norms."""
