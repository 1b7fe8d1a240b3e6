"""The graph that backward walks, drawn, and its steps one by one."""
