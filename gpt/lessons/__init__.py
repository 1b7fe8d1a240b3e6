"""Models and tasks of the guide alone: encoders, translation, masked words, word vectors."""
