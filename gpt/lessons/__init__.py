"""What the guide alone needs: encoders, translation, gaps to fill, vectors of words. Nothing imports it."""
