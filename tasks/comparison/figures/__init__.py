"""The pictures of a comparison and of a training, drawn without a display."""
