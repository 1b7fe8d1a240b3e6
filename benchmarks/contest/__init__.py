"""How contestants are timed: in turns, in windows of equal length, after their results were compared."""
