"""A trained model learns more: instructions, preferences, classes, with all weights or LoRA."""
