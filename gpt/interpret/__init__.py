"""What a model attends to, what its layers hold, and where its loss is."""
