"""Images: found, read in full, labelled, split, and decoded once."""
