"""A GPT on `tinytensor`: tokenizers, data, model, training, sampling. Start with `python -m gpt`."""
