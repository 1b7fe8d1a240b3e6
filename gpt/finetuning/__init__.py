"""Fine-tuning: text, instructions, preferences (DPO), rewards (GRPO); of all weights or with LoRA."""
