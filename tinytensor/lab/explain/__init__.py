"""How a tensor lies in memory, as text, as a picture, and as a page."""
