"""Small studies, each a command: ablations, masked language models, skip-grams, translation."""
