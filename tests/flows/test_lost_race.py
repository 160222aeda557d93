"""A comparison with a strategy that the race stopped, by the steps themselves."""

import json

import pandas as pd

from tests.support.project import Project
from tests.support.results import read_comparison

EVIDENCE = {
    "reason": "it can't win any more", "images": 16, "of_images": 40, "metric": "auroc", "score": 0.5,
    "against": "head_only", "leader": 0.8, "difference": 0.3, "standard_error": 0.05, "reach": 0.7, "to_win": 0.85,
    "at_least": 0.1,
}  # fmt: skip


def test_what_lost_the_race_does_not_see_the_test_split(small: Project) -> None:
    """The others are tested, the champion alone is corrupted and timed, and MLflow's runs say what is known."""
    params = small.params()
    params["compare"] |= {"robustness_images": None, "confidence": 0.6}
    small.write_params(params)
    record = small.root / "data/runs/scratch/run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"stopped": EVIDENCE}))
    printed = small.steps("compare")
    comparison = read_comparison(small)
    lost, won = comparison.strategies["scratch"], comparison.strategies["head_only"]
    assert comparison.racing.raced
    assert list(comparison.strategies) == ["head_only", "scratch"]
    assert lost.test is None
    assert lost.stopped is not None
    assert lost.stopped.at_least == 0.1
    assert won.tested.images == comparison.data.images["test"]
    tested = pd.read_parquet(small.root / "data/reports/predictions.parquet")
    assert set(tested["strategy"]) == {"head_only"}
    assert "× scratch" in printed
    if comparison.champion:
        assert won.serving is not None
        assert won.robustness is not None
        assert won.robustness.images == comparison.data.images["val"]
