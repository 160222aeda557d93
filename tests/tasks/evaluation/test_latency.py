"""How long an answer takes is not decided by a call that was held up."""

import time
from collections.abc import Iterator

from tasks.evaluation.latency import milliseconds


def answers(seconds: list[float]) -> Iterator[None]:
    """Take so long for each answer."""
    for pause in seconds:
        time.sleep(pause)
        yield None


def test_the_median_counts() -> None:
    """Neither the first call, nor one that is held up, shows."""
    held_up = answers([0.3, *[0.002] * 10, 0.3])
    assert 2 <= milliseconds(lambda: next(held_up), runs=11) < 100
