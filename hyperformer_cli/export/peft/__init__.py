"""`--format peft`: a LoRA folder per task, as PEFT stores them."""
