"""A race of strategies whose training is played from a script."""

import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.comparison.racing import ACCURACY
from tasks.steps.race import Race
from tasks.training.checkpoints import Progress
from tasks.training.loop import DivergedError

SECONDS = 10.0  # an epoch


@dataclass
class Script:
    """Trains by reading accuracies off a list, and keeps checkpoints as the real one does."""

    accuracies: dict[str, list[float]]
    checkpoints: dict[str, int] = field(default_factory=dict)
    trained: int = 0

    def __call__(self, entrant: Any, until: int) -> Progress:
        """Train up to an epoch, or to where the script ends."""
        script = self.accuracies[entrant.strategy]
        if not script:
            raise DivergedError("not finite")
        done = self.checkpoints.get(entrant.strategy, 0)
        reached = max(done, min(until, len(script)))
        self.trained += reached - done
        self.checkpoints[entrant.strategy] = reached
        history = [{ACCURACY: accuracy} for accuracy in script[:reached]]
        return Progress(epoch=reached, seconds=SECONDS * reached, history=history)


def racer(name: str, epochs: int, trainable: int, soup: int = 1) -> Any:
    """Return a strategy as the race sees it."""
    plan = SimpleNamespace(epochs=epochs, trainable=lambda: trainable)
    return SimpleNamespace(
        strategy=name, plan=plan, earliest=1, settings=SimpleNamespace(soup=soup, wise_ft=None)
    )  # fmt: skip


def raced(script: Script, budget: float = 1e9, soup: int = 1) -> dict[str, int]:
    """Return after how many epochs each strategy is stopped."""
    field = [racer("flat", 16, 900, soup), racer("head", 1, 10), racer("late", 16, 500)]
    return {name: epochs for name, (epochs, _) in Race(field, budget, 1000, script).run().items()}


SCRIPT = {"head": [0.9], "flat": [0.5] * 16, "late": [0.55 + 0.09 * math.log2(epoch) for epoch in range(1, 17)]}


def test_who_falls_behind_is_stopped_and_who_catches_up_is_not() -> None:
    """The flat one ends after its second rung; the one that rises trains to its end."""
    script = Script(SCRIPT)
    assert raced(script) == {"flat": 2}
    assert script.checkpoints == {"head": 1, "flat": 2, "late": 16}


@pytest.mark.parametrize("left", [{"flat": 1}, {"flat": 4, "late": 8}, {"flat": 16, "head": 1, "late": 16}])
def test_a_race_that_was_killed_ends_as_it_would_have(left: dict[str, int]) -> None:
    """Checkpoints that are farther than the rung change nothing of who is stopped where."""
    assert raced(Script(SCRIPT, dict(left))) == {"flat": 2}


def test_a_spent_budget_stops_everyone_where_they_are() -> None:
    """All have their first rung, however small the budget; of the rest no more is trained than fits."""
    assert raced(Script(SCRIPT), budget=1) == {"flat": 1, "late": 1}
    script = Script(SCRIPT)
    assert raced(script, budget=6 * SECONDS) == {"flat": 2, "late": 4}
    assert script.trained == 1 + 2 + 4


def test_what_diverges_or_averages_does_not_race() -> None:
    """Neither is stopped by the race, and a race of nobody is none."""
    assert raced(Script({**SCRIPT, "late": []})) == {"flat": 2}
    assert raced(Script(SCRIPT), soup=3) == {}
    assert raced(Script({name: [] for name in SCRIPT})) == {}
