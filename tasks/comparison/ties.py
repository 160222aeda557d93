"""Who wins a tie: who costs less to run, and of those that cost the same, who scored best."""

from collections.abc import Callable, Sequence
from typing import TypeVar

SAME = 1.1  # ratio of two costs up to which they count as the same

T = TypeVar("T")


def winner_of(tied: Sequence[T], costs: Callable[[T], Sequence[float]]) -> T:
    """Return who wins a tie.

    Args:
        tied: who ties, from the best score to the worst; at least one.
        costs: says what one costs, what decides first before what decides then.
    """
    left = list(tied)
    for place in range(len(costs(left[0]))):
        least = min(costs(one)[place] for one in left)
        left = [one for one in left if costs(one)[place] <= least * SAME]
    return left[0]


def compared(costs: Sequence[float], others: Sequence[float]) -> int:
    """Return -1 where the costs are less than others, 1 where they are more, and 0 where they are the same."""
    for cost, other in zip(costs, others, strict=True):
        if max(cost, other) > min(cost, other) * SAME:
            return -1 if cost < other else 1
    return 0
