"""What scores cost: which strategies nothing beats in everything, and how soon each is as good as one from scratch."""

from collections.abc import Mapping, Sequence

import numpy as np

from tasks.arrays import Floats

ACCURACY = "val_accuracy"

Row = Mapping[str, float]


def pareto_front(scores: Sequence[float], *costs: Sequence[float]) -> list[bool]:
    """Return which strategies are efficient: no other scores as high at no higher costs, and is better in one of them.

    Args:
        scores: larger is better.
        costs: smaller is better; each as long as ``scores``.
    """
    points: Floats = np.column_stack([np.negative(scores), *costs]).astype(float)
    return [not bool(((points <= point).all(axis=1) & (points < point).any(axis=1)).any()) for point in points]


def epochs_to_reach(history: Sequence[Row], other: Sequence[Row]) -> int | None:
    """Return after how many epochs a history has the best validation accuracy of another one; None: never."""
    wanted = max(row[ACCURACY] for row in other)
    return next((place for place, row in enumerate(history, 1) if row[ACCURACY] >= wanted), None)


def seconds_of(epochs: int | None, trained: int, seconds: float) -> float | None:
    """Return the share of a training's seconds that its first epochs take, if all take the same."""
    return None if epochs is None else seconds * epochs / trained
