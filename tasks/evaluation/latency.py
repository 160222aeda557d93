"""How long an answer takes."""

import time
from collections.abc import Callable
from statistics import median

RUNS = 30


def milliseconds(answer: Callable[[], object], runs: int = RUNS) -> float:
    """Return the median time of some calls, after a tenth as many that don't count."""
    for _ in range(max(1, runs // 10)):
        answer()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        answer()
        seconds.append(time.perf_counter() - started)
    return 1000 * median(seconds)
