"""Networks for small devices, fine-tuned in every way; a table of the outcome ends the tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tasks.strategies.matrix import STRATEGIES, Reader, check

FAMILIES = (
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "efficientnet_v2_l",
)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_matrix(
    family: str, name: str, reader: Reader, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """What trains moves, what is frozen is equal to the bit, and what was saved answers the same elsewhere."""
    record_property("matrix", [family, name])
    check(family, name, reader, tmp_path)
