"""A race of strategies whose training is played from a script."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from tasks.comparison.racing import Standings, rungs
from tasks.params import CompareParams
from tasks.steps.race import TIME_IS_UP, Race, Racer, Stop
from tasks.training.loop import DivergedError
from tasks.training.rungs import Rung

STEPS = 160
TARGETS = np.arange(300) % 2
SCRIPT = {"head": [1.0], "flat": [0.1] * 6, "late": [0.8, 1.2, 1.5, 1.8, 1.9, 2.0]}  # skill at every look


@dataclass
class Script:
    """Trains by reading skills off a list, a second a step; keeps what it was asked."""

    skills: dict[str, list[float]]
    asked: list[tuple[str, int]] = field(default_factory=list)

    def racer(self, name: str, steps: int, cost: float) -> Racer:
        """Return a strategy that shows what the script says."""
        looks = rungs(0, steps)

        def look(until: int) -> Rung:
            if not self.skills[name]:
                raise DivergedError("not finite")
            self.asked.append((name, until))
            place = looks.index(until)
            noise = np.random.default_rng(place).normal(size=len(TARGETS))
            right = 1 / (1 + np.exp(-(np.where(TARGETS == 1, 1, -1) * self.skills[name][place] + noise)))
            return Rung(np.column_stack([1 - right, right]), until, float(until), until == steps)

        return Racer(
            name, looks, 0, "pretrained", parameters=1, trainable=int(cost), cost=cost, milliseconds=0.0,
            cheaper=CompareParams().cheaper, look=look, images_after=lambda steps: 16 * steps, say=lambda _: None,
        )  # fmt: skip


def raced(script: Script, seconds: float | None = None) -> dict[str, Stop]:
    """Return where strategies stop."""
    racers = [script.racer("flat", STEPS, 10), script.racer("head", 10, 1), script.racer("late", STEPS, 5)]
    return Race(racers, seconds, Standings(TARGETS, "auroc", {racer.name: racer.contestant for racer in racers})).run()


def test_who_cannot_win_is_stopped_and_who_can_is_not() -> None:
    """The flat one stops where that is certain, with the evidence; the leader is left to its own fine-tuning."""
    script = Script(SCRIPT)
    stops = raced(script)
    assert set(stops) == {"flat"}
    assert stops["flat"].images
    assert stops["flat"].images < 16 * STEPS
    assert stops["flat"].share == stops["flat"].images / (16 * STEPS)
    assert stops["flat"].evidence
    assert stops["flat"].reason == stops["flat"].evidence.sentence()


def test_everyone_is_looked_at_once_and_then_goes_on_whose_next_look_costs_least() -> None:
    """The head alone is a second's work; the dear one waits for the looks of the cheaper one."""
    script = Script({**SCRIPT, "flat": [0.8, 1.3, 1.7, 2.1, 2.4, 2.6]})
    raced(script)
    assert [name for name, _ in script.asked[:3]] == ["head", "late", "flat"]
    costs = {"late": 5, "flat": 10}
    spent = dict.fromkeys(costs, STEPS // 16)
    for place, (name, until) in enumerate(script.asked[3:], 3):
        left = {one for one, _ in script.asked[place:]}  # who was stopped is not asked any more
        next_looks = {one: costs[one] * done for one, done in spent.items() if one in left}
        assert next_looks[name] == min(next_looks.values())
        spent[name] = until if until < STEPS else math.inf


def test_a_race_that_was_killed_ends_as_it_would_have() -> None:
    """What was looked at before is read, not trained; who is stopped where depends on the looks alone."""
    assert raced(Script(SCRIPT)) == raced(Script(SCRIPT))


def test_a_spent_budget_stops_everyone_where_they_are() -> None:
    """All have their first look, however small the budget; the leader, too, stops when the time is up."""
    stops = raced(Script({**SCRIPT, "flat": [0.9] * 6}), seconds=1)
    assert {name: (stop.images, stop.reason) for name, stop in stops.items()} == {
        "flat": (160, TIME_IS_UP), "late": (160, TIME_IS_UP),
    }  # fmt: skip
    assert all(stop.evidence is None for stop in stops.values())
    script = Script({**SCRIPT, "flat": [0.9] * 6})
    raced(script, seconds=100)
    assert sum(max(until for name, until in script.asked if name == one) for one in SCRIPT) < 100 + STEPS


@pytest.mark.parametrize("left_out", ["late", "flat"])
def test_what_diverges_does_not_race(left_out: str) -> None:
    """Neither is it stopped, nor does it stop the others; a race of nobody is none."""
    assert left_out not in raced(Script({**SCRIPT, left_out: []}))
    assert raced(Script({name: [] for name in SCRIPT})) == {}
