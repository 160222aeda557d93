"""Pretrained networks: how each architecture is built, and where its weights come from."""
