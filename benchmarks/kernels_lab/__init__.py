"""The kernels lab: rival versions of a kernel side by side, each checked, then counted or timed."""
