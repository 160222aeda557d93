"""When a strategy can't catch up any more, judged by validation accuracies alone.

Successive halving (Jamieson and Talwalkar, AISTATS 2016) in rungs of 1, 2, 4, … epochs, but for two things: who stays
is not a fixed share but everyone whose reach overlaps with the leader's interval, and reach is the best accuracy so far
plus what the last doubling of the epochs brought, once more for every doubling that is left. Nobody is stopped on the
first rung, where that isn't known yet.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import norm

ACCURACY = "val_accuracy"
CONFIDENCE = 0.95

Row = Mapping[str, float]


@dataclass(frozen=True)
class Runner:
    """A strategy in the race.

    Attributes:
        epochs: of its whole plan.
        earliest: epochs after which it may be stopped at the earliest: the first of its last phase.
        history: its epochs so far, or all of a full run.
    """

    epochs: int
    earliest: int
    history: Sequence[Row]


@dataclass(frozen=True)
class Replay:
    """What racing would have done to full runs.

    Attributes:
        stopped: after how many epochs each strategy would have been stopped, by name; the others would have finished.
        saved: share of all training seconds.
    """

    stopped: dict[str, int]
    saved: float


def rungs(epochs: int, earliest: int) -> list[int]:
    """Return the numbers of epochs after which a strategy is looked at: doubled each time, its last epoch last."""
    doubled = [2**power for power in range(epochs.bit_length()) if earliest <= 2**power < epochs]
    return sorted({min(max(1, earliest), epochs), *doubled, epochs})


def dominated(runners: Mapping[str, Runner], images: int) -> list[str]:
    """Return the names of unfinished strategies that can't catch up with the best one so far.

    Args:
        runners: by name, each with one epoch or more behind it.
        images: of the validation split.
    """
    if not runners:
        return []
    best = {name: max(row[ACCURACY] for row in runner.history) for name, runner in runners.items()}
    leader = max(best.values())
    return [
        name
        for name, runner in runners.items()
        if runner.earliest <= len(runner.history) < runner.epochs
        and _reach(runner) + _margin(leader, best[name], images) < leader
    ]


def replay(full: Mapping[str, Runner], seconds: Mapping[str, float], images: int) -> Replay:
    """Return what racing would have done to strategies that all ran to their end.

    Args:
        full: by name, with the history of the whole run.
        seconds: training time of all strategies, those that don't race among them.
        images: of the validation split.
    """
    stopped: dict[str, int] = {}
    ends = {
        name: rungs(len(runner.history), min(runner.earliest, len(runner.history))) for name, runner in full.items()
    }
    for rung in range(max((len(epochs) for epochs in ends.values()), default=0)):
        running = {name: runner for name, runner in full.items() if name not in stopped}
        seen = {name: _at(runner, ends[name][min(rung, len(ends[name]) - 1)]) for name, runner in running.items()}
        stopped |= {name: len(seen[name].history) for name in dominated(seen, images)}
    saved = sum(seconds[name] * (1 - epochs / len(full[name].history)) for name, epochs in stopped.items())
    return Replay(stopped, saved / max(sum(seconds.values()), 1e-9))


def _at(runner: Runner, epochs: int) -> Runner:
    """Return a full run as it was after some epochs; after its last one it is finished, whatever it had planned."""
    is_over = epochs >= len(runner.history)
    return Runner(epochs if is_over else runner.epochs, runner.earliest, runner.history[:epochs])


def _reach(runner: Runner) -> float:
    """Return the accuracy that a strategy may come to if every doubling of its epochs brings what the last one did."""
    done = len(runner.history)
    if done < 2:
        return 1.0
    best = max(row[ACCURACY] for row in runner.history)
    before = max(row[ACCURACY] for row in runner.history[: done // 2])
    return min(1.0, best + (best - before) * math.ceil(math.log2(runner.epochs / done)))


def _margin(accuracy: float, other: float, images: int) -> float:
    """Return the half-width of the interval of a difference between two accuracies, as of independent images.

    Answers to the same images go together, so that this is on the safe side.
    """
    variance = (accuracy * (1 - accuracy) + other * (1 - other)) / images
    return float(norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(variance)
