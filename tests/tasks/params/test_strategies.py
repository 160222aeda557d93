"""The section ``strategies``: what a strategy may combine, and its phases."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from tasks.params import load_params
from tests.tasks.params.files import refusal, written

CORRECTIONS: dict[str, Any] = {"class_weights": True, "sampling": "balanced", "logit_adjustment": 1.0}


@pytest.mark.parametrize("pair", itertools.combinations(CORRECTIONS, 2), ids="-".join)
def test_class_frequencies_are_corrected_once(tmp_path: Path, pair: tuple[str, str]) -> None:
    """Two corrections are refused by their names, also where one of them is shared; each goes with the focal loss."""
    first, second = ({key: CORRECTIONS[key]} for key in pair)
    both = written(tmp_path, train=first, strategies={"a": {"train": "all", **second}})
    assert re.search(f"'strategies.a'.*'{pair[0]}.*'{pair[1]}.*correct for the same class frequencies", refusal(both))
    for correction in (first, second):
        params = load_params(written(tmp_path, train={**correction, "focal_gamma": 2}))
        assert params.strategy("probe").focal_gamma == 2


def test_phases_take_what_they_leave_out_from_their_strategy(tmp_path: Path) -> None:
    """A phase without epochs or rate has those of the strategy, which has those of train."""
    phases = [{"train": "head", "lr": "pretraining/4"}, {"train": ["stem", "head"], "epochs": 3}]
    params = load_params(
        written(tmp_path, train={"epochs": 9, "lr": 0.5}, strategies={"a": {"phases": phases, "lr": 0.25}})
    )
    first, second = params.strategy("a").schedule()
    assert (first.train, first.epochs, first.lr) == (("head",), 9, "pretraining/4")
    assert (second.train, second.epochs, second.lr) == (("stem", "head"), 3, 0.25)


def test_strategy_without_phases_is_one_phase(tmp_path: Path) -> None:
    """train alone is a schedule of a single phase."""
    (only,) = load_params(written(tmp_path, train={"epochs": 4, "lr": 0.5})).strategy("probe").schedule()
    assert (only.train, only.epochs, only.lr) == (("head",), 4, 0.5)
