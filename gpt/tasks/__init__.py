"""Tasks whose answers a program can verify, made without files: spelling, sorting, arithmetic and others."""
