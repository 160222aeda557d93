"""The section ``train``: repeats, shares and budgets."""

from pathlib import Path
from typing import Any

import pytest

from tests.tasks.params.files import refusal, written


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"budget": "soon"}, "'soon' is no time: write seconds, or a number with s, m or h, such as 10m"),
        ({"budget": 0}, "'0' is no budget: write a time over 0 such as 10m, or auto, or none"),
        ({"seeds": 0}, "'train.seeds': input should be greater than or equal to 1"),
        ({"shares": [0.1, 1.0]}, "'train.shares.1': input should be less than 1"),
    ],
)
def test_wrong_repeats_and_budgets_are_named(tmp_path: Path, settings: dict[str, Any], sentence: str) -> None:
    """One sentence says what is wrong and where."""
    assert sentence in refusal(written(tmp_path, train=settings))


def test_repeats_are_the_same_for_every_strategy(tmp_path: Path) -> None:
    """A strategy has no number of seeds, shares or budget of its own."""
    for key, value in {"seeds": 2, "shares": [0.5], "budget": "1m"}.items():
        source = written(tmp_path, strategies={"probe": {"train": "head", key: value}})
        assert f"'strategies.probe.{key}' is not a known key" in refusal(source)
