"""Fine-tuning: text, instructions, preferences (DPO), classification; of all weights or with LoRA."""
