"""A race by the steps themselves: what it stops, keeps, and leaves to others."""

import json
from typing import Any

from tests.support.project import Project
from tests.support.results import read_comparison


def race_of(project: Project) -> dict[str, dict[str, Any]]:
    """Return what the race says of every strategy."""
    return {file.stem: json.loads(file.read_text()) for file in (project.root / "data/race").glob("*.json")}


def test_a_race_stops_what_is_left_when_the_budget_is_spent(small: Project) -> None:
    """Everyone gets a start, its training is taken over, and what was stopped is the beginning of the full run."""
    params = small.params()
    params["train"]["budget"] = "0.1s"
    params["strategies"]["scratch"]["epochs"] = 40
    params["strategies"]["head_only"]["solver"] = "lbfgs"
    small.write_params(params)
    steps = ("race", *(f"finetune@{name}" for name in params["strategies"]), "compare")
    printed = small.steps(*steps)
    stop = race_of(small)["scratch"]
    assert stop["reason"] == "the budget is spent"
    assert race_of(small)["head_only"]["images"] is None
    assert f"scratch: stops after {stop['images']:,} of" in printed
    run = json.loads((small.root / "data/runs/scratch/run.json").read_text())
    assert run["stopped"]["images"] == stop["images"] < run["stopped"]["of_images"]
    stopped = read_comparison(small).strategies["scratch"].history
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
