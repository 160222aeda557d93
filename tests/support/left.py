"""What either door has to leave of the golden project."""

import re

from tests.support.golden import SHARE, STRATEGIES, golden
from tests.support.results import is_up_to_date, read_comparison, tracked_runs

REPEATS = ("seed-1", f"share-{SHARE}")


def check_everything_is_up_to_date(door: str) -> None:
    """DVC calls nothing stale."""
    assert is_up_to_date(golden(door)[0])


def check_comparison(door: str) -> None:
    """The JSON holds both splits' metrics of all strategies, best validation score first; the winner was printed."""
    project, printed = golden(door)
    comparison = read_comparison(project)
    assert set(comparison.strategies) == set(STRATEGIES)
    scores = [result.figure("val", "auroc")[0] for result in comparison.strategies.values()]
    assert scores == sorted(scores, reverse=True)
    trainable = {name: result.trainable_parameters for name, result in comparison.strategies.items()}
    assert trainable["head_only"] < trainable["scratch"]
    for result in comparison.strategies.values():
        assert result.test.images == comparison.data.images["test"] == sum(map(sum, result.test.confusion))
    assert comparison.champion in STRATEGIES
    assert f"{comparison.champion} wins: validation AUROC" in re.sub(r"\s+", " ", printed)


def check_tracked_runs(door: str) -> None:
    """MLflow shows one comparison with its strategies below it, and below each its repeats."""
    project, _ = golden(door)
    comparison = read_comparison(project)
    runs = tracked_runs(project)
    children = [name for name, status, parent in runs.values() if parent == comparison.mlflow_run_id]
    assert sorted(children) == sorted(STRATEGIES)
    for name, result in comparison.strategies.items():
        repeats = [child for child, _, parent in runs.values() if parent == result.mlflow_run_id]
        assert sorted(repeats) == [f"{name} {repeat}" for repeat in REPEATS]
    assert {status for _, status, _ in runs.values()} == {"FINISHED"}
