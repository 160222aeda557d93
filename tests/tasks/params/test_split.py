"""The section ``split``: shares that leave something, and how alike images may be."""

from pathlib import Path
from typing import Any

import pytest

from tests.tasks.params.files import refusal, written


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"validation": 0.5, "test": 0.5}, "nothing to train on"),
        ({"validation": 0.9}, "nothing to train on"),
        ({"test": 0}, "'split.test'"),
        ({"validation": -0.1}, "'split.validation'"),
        ({"validation": 1.5}, "'split.validation'"),
    ],
)
def test_split_shares_leave_something_to_train_on(tmp_path: Path, split: dict[str, float], said: str) -> None:
    """Each share is between 0 and 1, and both together are below 1."""
    assert said in refusal(written(tmp_path, split=split))


@pytest.mark.parametrize("near", [True, 0.4, 1.1, "yes"])
def test_how_alike_is_a_number_or_off(tmp_path: Path, near: Any) -> None:
    """``true`` is not silently taken for 1, the strictest comparison."""
    assert "split.near_duplicates" in refusal(written(tmp_path, split={"near_duplicates": near}))
