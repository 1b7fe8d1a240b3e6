"""The emulator with every access checked: races, bounds, and what warps request."""
