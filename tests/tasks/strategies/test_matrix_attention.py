"""Networks that attend, fine-tuned in every way; a table of the outcome ends the tests."""

from tests.tasks.strategies.matrix import matrix_of

test_matrix = matrix_of(
    "maxvit_t",
    "swin_t",
)
