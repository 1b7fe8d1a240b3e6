"""The models: GPT and its variants, encoders, and the parts that they share."""
