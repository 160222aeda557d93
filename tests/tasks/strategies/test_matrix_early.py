"""The first convolutional networks, fine-tuned in every way; a table of the outcome ends the tests."""

from tests.tasks.strategies.matrix import matrix_of

test_matrix = matrix_of(
    "alexnet",
    "vgg11_bn",
    "squeezenet1_1",
)
