"""What the stages share: prepared data and networks, fine-tunings and their repeats, launched workers, MLflow runs."""
