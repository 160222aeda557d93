"""What fine-tuning bought: how soon each strategy is where training from scratch was at its best."""

from collections.abc import Mapping, Sequence

Row = Mapping[str, float]
ACCURACY = "val_accuracy"


def seconds_of(epochs: int | None, trained: int, seconds: float) -> float | None:
    """Return the share of a training's seconds that its first epochs take, if all take the same."""
    return None if epochs is None else seconds * epochs / trained


def epochs_to_reach(history: Sequence[Row], other: Sequence[Row]) -> int | None:
    """Return after how many epochs a history has the best validation accuracy of another one; None: never."""
    wanted = max(row[ACCURACY] for row in other)
    return next((place for place, row in enumerate(history, 1) if row[ACCURACY] >= wanted), None)
