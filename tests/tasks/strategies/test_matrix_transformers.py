"""Transformers: every strategy of the matrix."""

from tests.tasks.strategies.matrix import matrix_of

test_matrix = matrix_of(
    "swin_v2_t",
    "vit_b_16",
)
