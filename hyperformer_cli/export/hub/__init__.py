"""`--format hub`: a folder for the Hugging Face hub, with a model card."""
