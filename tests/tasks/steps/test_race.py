"""A race of strategies whose training is played from a script."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tasks.comparison.racing import Standings, rungs
from tasks.steps.race import TIME_IS_UP, Race, Stop
from tasks.training.loop import DivergedError
from tasks.training.rungs import Rung

STEPS = 160
TARGETS = np.arange(300) % 2
SCRIPT = {"head": [1.5], "flat": [0.1] * 5, "late": [0.8, 1.2, 1.5, 1.8, 2.0]}  # skill at every look


@dataclass
class Script:
    """Trains by reading skills off a list, a second a step; keeps what it was asked."""

    skills: dict[str, list[float]]
    asked: list[tuple[str, int]] = field(default_factory=list)

    def __call__(self, racer: Any, until: int) -> Rung:
        """Show what the script says."""
        skills = self.skills[racer.strategy]
        if not skills:
            raise DivergedError("not finite")
        self.asked.append((racer.strategy, until))
        place = rungs(racer.steps_before_last_phase, racer.steps).index(until)
        noise = np.random.default_rng(place).normal(size=len(TARGETS))
        right = 1 / (1 + np.exp(-(np.where(TARGETS == 1, 1, -1) * skills[place] + noise)))
        return Rung(np.column_stack([1 - right, right]), until, float(until), until == racer.steps)


def racer(name: str, steps: int, frozen: int, soup: int = 1) -> Any:
    """Return a strategy as the race sees it; of its ten groups so many are frozen."""
    groups = [SimpleNamespace(name=place) for place in range(10)]
    plan = SimpleNamespace(groups=groups, thaws_at=lambda group: None if group < frozen else 0)
    return SimpleNamespace(
        strategy=name, plan=plan, steps=steps, steps_before_last_phase=0, images_after=lambda steps: 16 * steps,
        measurement=SimpleNamespace(seconds=0.0), settings=SimpleNamespace(soup=soup, wise_ft=None),
        reporter=SimpleNamespace(say=lambda _: None),
    )  # fmt: skip


def raced(script: Script, seconds: float | None = None, soup: int = 1) -> dict[str, Stop]:
    """Return where strategies stop."""
    entrants = [racer("flat", STEPS, 0, soup), racer("head", 10, 9), racer("late", STEPS, 5)]
    return Race(entrants, seconds, Standings(TARGETS, "auroc"), script).run()


def test_who_cannot_win_is_stopped_and_who_can_is_not() -> None:
    """The flat one stops where that is certain, with the evidence; the leader is left to its own fine-tuning."""
    script = Script(SCRIPT)
    stops = raced(script)
    assert set(stops) == {"flat"}
    assert stops["flat"].images < 16 * STEPS
    assert stops["flat"].share == stops["flat"].images / (16 * STEPS)
    assert stops["flat"].evidence
    assert stops["flat"].reason == stops["flat"].evidence.sentence()


def test_cheap_ones_go_first_and_then_the_most_promising() -> None:
    """The head alone is a second's work; the one that rises goes to its end before the flat one goes on."""
    script = Script(SCRIPT)
    raced(script)
    assert [name for name, _ in script.asked[:3]] == ["head", "late", "flat"]
    assert "flat" not in [name for name, _ in script.asked[3:-1]]


def test_a_race_that_was_killed_ends_as_it_would_have() -> None:
    """What was looked at before is read, not trained; who is stopped where depends on the looks alone."""
    assert raced(Script(SCRIPT)) == raced(Script(SCRIPT))


def test_a_spent_budget_stops_everyone_where_they_are() -> None:
    """All have their first look, however small the budget; the leader, too, stops when the time is up."""
    stops = raced(Script({**SCRIPT, "flat": [0.8] * 5}), seconds=1)
    assert {name: (stop.images, stop.reason) for name, stop in stops.items()} == {
        "flat": (160, TIME_IS_UP), "late": (160, TIME_IS_UP),
    }  # fmt: skip
    assert all(stop.evidence is None for stop in stops.values())
    script = Script({**SCRIPT, "flat": [0.8] * 5})
    raced(script, seconds=100)
    assert sum(max(until for name, until in script.asked if name == one) for one in SCRIPT) < 100 + STEPS


@pytest.mark.parametrize("left_out", ["late", "flat"])
def test_what_diverges_does_not_race(left_out: str) -> None:
    """Neither is it stopped, nor does it stop the others; a race of nobody is none."""
    assert left_out not in raced(Script({**SCRIPT, left_out: []}))
    assert raced(Script({name: [] for name in SCRIPT})) == {}


def test_what_averages_weights_runs_behind_the_race() -> None:
    """A soup's members are not looked at."""
    script = Script(SCRIPT)
    assert raced(script, soup=3) == {}
    assert "flat" not in [name for name, _ in script.asked]
