"""Networks for small devices, fine-tuned in every way; a table of the outcome ends the tests."""

from tests.tasks.strategies.matrix import matrix_of

test_matrix = matrix_of(
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
)
