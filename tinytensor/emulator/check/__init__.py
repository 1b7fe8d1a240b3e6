"""The device `checked`: the emulator with every memory access checked and counted."""
