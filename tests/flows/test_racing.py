"""A race by the steps themselves: what it stops, keeps, and leaves to others."""

import json
from typing import Any

import pytest

from tests.support.project import Project
from tests.support.results import read_comparison


def race_of(project: Project) -> dict[str, dict[str, Any]]:
    """Return what the race says of every strategy."""
    return {file.stem: json.loads(file.read_text()) for file in (project.root / "data/race").glob("*.json")}


def test_a_race_stops_who_cannot_win_and_without_one_all_are_trained(small: Project) -> None:
    """What was trained in the race is taken over; it is the beginning of the full run; the evidence is recorded."""
    params = small.params()
    params["strategies"]["scratch"] |= {"epochs": 40, "patience": 40, "lr": 0.00001}  # by which it hardly learns
    params["strategies"]["head_only"]["solver"] = "lbfgs"
    small.write_params(params)
    steps = ("race", *(f"finetune@{name}" for name in params["strategies"]), "compare")
    printed = small.steps(*steps)
    stop = race_of(small)["scratch"]
    assert race_of(small)["head_only"]["images"] is None
    assert stop["evidence"]["against"] == "head_only"
    assert f"scratch: stops after {stop['images']:,} of {stop['evidence']['of_images']:,} images" in printed
    run = json.loads((small.root / "data/runs/scratch/run.json").read_text())
    assert run["stopped"] == stop["evidence"] | {"reason": stop["reason"]}
    lost = read_comparison(small).strategies["scratch"]
    assert lost.val.auroc == pytest.approx(stop["evidence"]["score"]), "its answers are those that it was judged by"
    stopped = lost.history
    assert len(stopped) < 40
    assert "epoch" not in small.steps("race"), "what was looked at is not trained again"
    assert race_of(small)["scratch"] == stop
    params["train"]["budget"] = "none"
    small.write_params(params)
    small.steps(*steps)
    full = read_comparison(small)
    assert not full.racing.raced
    assert full.racing.stopped == {}
    history = full.strategies["scratch"].history
    whole = len(stopped) - 1  # the last one may be a part of an epoch
    assert len(history) > len(stopped)
    assert history[:whole] == stopped[:whole]
