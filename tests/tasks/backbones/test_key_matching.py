"""Weights go to tensors by their names, and what doesn't is accounted for."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.backbones.key_matching import Converted, LoadReport, keys_match, match_keys
from tasks.backbones.unwrapping import unwrapped
from tasks.errors import UserError

NAMES = ["stem.weight", "stage1.weight", "stage1.bias", "stage2.weight", "head.weight", "head.bias", "aux1.weight"]
SUBSETS = st.sets(st.sampled_from(NAMES))


@given(held=SUBSETS, chosen=SUBSETS, reshaped=SUBSETS, order=st.permutations(NAMES))
def test_every_tensor_is_accounted_for(held: set[str], chosen: set[str], reshaped: set[str], order: list[str]) -> None:
    """All tensors are of one shape, so that only names can tell them apart: each comes from its name or is new.

    Where something isn't explained, nothing is loaded at all.
    """
    drawn = {name: torch.full((2,), -1.0) for name in NAMES}
    file = {
        name: torch.full((3 if name in reshaped else 2,), float(NAMES.index(name))) for name in order if name in held
    }
    explained = {name for name in NAMES if name in chosen or (name == "aux1.weight" and name not in held)}
    fit_together = all(name in explained or (name in held and name not in reshaped) for name in NAMES)
    patterns = [re.escape(name) for name in chosen]
    converted = Converted(file, {"aux1": "no auxiliary classifier"})
    if not fit_together or set(NAMES) == explained:
        with pytest.raises(UserError):
            match_keys(converted, drawn, patterns, "the file does not fit")
        return
    state, report = match_keys(converted, drawn, patterns, "the file does not fit")
    assert list(state) == NAMES
    for name in NAMES:
        assert (state[name] == (-1.0 if name in explained else float(NAMES.index(name)))).all()
    assert set(report.new) == explained
    assert report.matched + len(report.new) == len(NAMES)
    assert set(report.left_out) == chosen & held
    assert ("no auxiliary classifier" in report.notes) == ("aux1.weight" not in held)


def test_batch_counters_are_added_only_beside_their_statistics() -> None:
    """A missing counter starts at zero; a missing BatchNorm is missing."""
    drawn = {"norm.running_mean": torch.ones(2), "norm.num_batches_tracked": torch.tensor(7)}
    state, report = match_keys(Converted({"norm.running_mean": torch.zeros(2)}), drawn, (), "the file does not fit")
    assert state["norm.num_batches_tracked"] == 0
    assert any("counter" in note for note in report.notes)
    with pytest.raises(UserError, match=r"missing \(such as norm\.running_mean, norm\.num_batches_tracked\)"):
        match_keys(Converted({}), drawn, (), "the file does not fit")


def test_prefix_that_the_network_has_itself_is_kept() -> None:
    """A network whose layers are all in a module named model is not renamed."""
    state = {"model.weight": torch.zeros(1)}
    assert unwrapped(state, ["model.weight"]) == (state, ())
    assert unwrapped(state, ["weight"])[0].keys() == {"weight"}
    assert unwrapped({}, ["weight"]) == ({}, ())


def test_fitting_is_by_names_and_shapes() -> None:
    """Values don't matter; a name, a shape or whole numbers do."""
    wanted = {"weight": torch.zeros(2), "bias": torch.zeros(2)}
    assert keys_match({"weight": torch.ones(2)}, wanted)
    assert not keys_match({"weight": torch.ones(3)}, wanted)
    assert not keys_match({"weight": torch.ones(2).int()}, wanted)
    assert not keys_match({"weights": torch.ones(2)}, wanted)


@given(st.lists(st.sampled_from([f"layer{number}.weight" for number in range(20)]), unique=True))
def test_report_is_read_back(names: list[str]) -> None:
    """A report survives the record, and its lines stay short however much was left out."""
    report = LoadReport(3, tuple(names), tuple(names), ("noted",))
    assert LoadReport.of(report.content()) == report
    lines = report.lines()
    assert lines[0].startswith("3 tensors")
    assert lines[-1] == "noted"
    assert all(len(line) < 200 for line in lines)
    assert any(str(len(names)) in line for line in lines[1:-1]) == bool(names)
