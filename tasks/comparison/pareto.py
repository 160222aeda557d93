"""Strategies that nothing beats in everything."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def front(scores: Sequence[float], *costs: Sequence[float]) -> list[bool]:
    """Return which strategies are efficient: no other scores as high at no higher costs, and is better in one of them.

    Args:
        scores: larger is better.
        costs: smaller is better; each as long as ``scores``.
    """
    points: npt.NDArray[np.float64] = np.column_stack([np.negative(scores), *costs]).astype(float)
    return [not bool(((points <= point).all(axis=1) & (points < point).any(axis=1)).any()) for point in points]
