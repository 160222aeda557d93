"""Ways of fine-tuning: what is replaced, what trains, when, and how fast."""
