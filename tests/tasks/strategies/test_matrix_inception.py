"""Networks whose blocks branch: every strategy of the matrix."""

from tests.tasks.strategies.matrix import matrix_of

test_matrix = matrix_of(
    "googlenet",
    "inception_v3",
)
