"""Residual and densely connected networks, fine-tuned in every way; a table of the outcome ends the tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tasks.strategies.matrix import STRATEGIES, Reader, check

FAMILIES = (
    "resnet18",
    "densenet121",
    "regnet_y_400mf",
    "convnext_tiny",
)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_matrix(
    family: str, name: str, reader: Reader, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """What trains moves, what is frozen is equal to the bit, and what was saved answers the same elsewhere."""
    record_property("matrix", [family, name])
    check(family, name, reader, tmp_path)
