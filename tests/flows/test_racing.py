"""A race within a time budget, by the steps themselves."""

from tests.support.project import Project
from tests.support.results import read_comparison


def test_a_race_stops_what_is_left_when_the_budget_is_spent(small: Project) -> None:
    """Everyone gets a start, its training is taken over, and what was stopped is the beginning of the full run."""
    params = small.params()
    params["train"]["budget"] = "0.1s"
    params["strategies"]["scratch"]["epochs"] = 5
    params["strategies"]["head_only"]["solver"] = "lbfgs"
    small.write_params(params)
    steps = ("race", *(f"finetune@{name}" for name in params["strategies"]), "compare")
    printed = small.steps(*steps)
    comparison = read_comparison(small)
    assert comparison.racing.budget == 0.1
    assert comparison.racing.stopped == {"scratch": 1}
    assert "The race stopped scratch after epoch 1" in printed
    assert "scratch: goes on after epoch 1 of 5" in printed
    stopped = comparison.strategies["scratch"].history
    params["train"]["budget"] = None
    small.write_params(params)
    small.steps(*steps)
    full = read_comparison(small)
    assert full.racing.budget is None
    assert len(full.strategies["scratch"].history) > len(stopped) == 1
    assert full.strategies["scratch"].history[0] == stopped[0]
