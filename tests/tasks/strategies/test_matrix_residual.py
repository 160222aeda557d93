"""Residual and densely connected networks, fine-tuned in every way; a table of the outcome ends the tests."""

from tests.tasks.strategies.matrix import matrix_of

test_matrix = matrix_of(
    "resnet18",
    "densenet121",
    "regnet_y_400mf",
    "convnext_tiny",
)
