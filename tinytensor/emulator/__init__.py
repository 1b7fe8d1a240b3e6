"""The devices `emulated` and `checked`: CUDA C++ run on the CPU, and watched; README.md is its map."""
