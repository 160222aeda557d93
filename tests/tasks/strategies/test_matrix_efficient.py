"""The EfficientNets: every strategy of the matrix."""

from tests.tasks.strategies.matrix import matrix_of

test_matrix = matrix_of(
    "efficientnet_b0",
    "efficientnet_v2_s",
    "efficientnet_v2_l",
)
