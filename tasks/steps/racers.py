"""Strategies side by side, rung by rung, within a time budget."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.comparison.racing import Runner, dominated, rungs
from tasks.errors import UserError
from tasks.runs.attempts import CHECKPOINT, Planned, plan_attempt
from tasks.runs.launch import Assignment, team_for
from tasks.runs.trained_network import trained_network
from tasks.training import checkpoints
from tasks.training.checkpoints import Progress
from tasks.training.loop import DivergedError


def train(one: Planned, until: int) -> Progress:
    """Train a strategy up to an epoch, unless its checkpoint is there or farther; return what it has behind it."""
    checkpoint = one.work / CHECKPOINT
    behind = checkpoints.progress_of(checkpoint)
    if behind and behind.epoch >= until:
        return behind
    with team_for(Assignment(one.strategy, one.repeat, one.settings.processes, one.work, until)) as team:
        return trained_network(
            one.settings, one.params, one.data, one.measurement, one.frozen, checkpoint, one.reporter, lambda _: None,
            until, team,
        ).progress  # fmt: skip


@dataclass
class Race:
    """Strategies that are trained in turns; those that average weights at their end run alone, behind the race.

    A checkpoint may be farther than the race: a strategy is judged by its epochs up to the rung, whatever follows them,
    so that a race that was killed ends as it would have.

    Attributes:
        planned: all strategies.
        budget: seconds of training.
        train: brings a strategy up to an epoch.
        images: of the validation split.
        progress: of each strategy, and up to which epoch it counts.
    """

    planned: Sequence[Planned]
    budget: float
    images: int
    train: Callable[[Planned, int], Progress] = train
    progress: dict[str, tuple[Progress, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, strategies: Sequence[str], budget: float) -> "Race":
        """Plan a race; a strategy that can't be planned is left out, its own fine-tuning says why."""
        planned = []
        for name in strategies:
            try:
                planned.append(plan_attempt(name))
            except UserError:
                continue
        return cls(planned, budget, len(planned[0].data.rows("val")) if planned else 0)

    def run(self) -> dict[str, tuple[int, str]]:
        """Return after how many epochs strategies stop, and why."""
        racers = [one for one in self.planned if one.settings.soup == 1 and not one.settings.wise_ft]
        running = {one.strategy: one for one in sorted(racers, key=lambda one: one.plan.trainable())}
        stops: dict[str, tuple[int, str]] = {}
        rung = 0
        while running:
            for name, one in list(running.items()):
                if rung and self._spent() >= self.budget:
                    break
                if not self._has_more(one, rung):
                    del running[name]
            if rung and self._spent() >= self.budget:
                return stops | {name: (self.progress[name][1], "the budget is spent") for name in running}
            lost = dominated(self._runners(running), self.images)
            stops |= {name: (self.progress[name][1], "it can't catch up any more") for name in lost}
            running = {name: one for name, one in running.items() if name not in lost}
            rung += 1
        return stops

    def _has_more(self, one: Planned, rung: int) -> bool:
        """Train up to a rung, and return whether there is more to train."""
        ends = rungs(one.plan.epochs, one.earliest)
        until = ends[min(rung, len(ends) - 1)]
        try:
            progress = self.train(one, until)
        except DivergedError:
            self.progress.pop(one.strategy, None)
            return False  # its own fine-tuning says so
        self.progress[one.strategy] = progress, min(until, progress.epoch)
        return progress.epoch >= until and until < one.plan.epochs

    def _runners(self, running: Mapping[str, Any]) -> dict[str, Runner]:
        """Return all that have trained; those that don't run any more count as finished."""
        plans = {one.strategy: one for one in self.planned}
        return {
            name: Runner(
                plans[name].plan.epochs if name in running else reached,
                plans[name].earliest,
                progress.history[:reached],
            )
            for name, (progress, reached) in self.progress.items()
        }

    def _spent(self) -> float:
        return sum(progress.seconds * reached / progress.epoch for progress, reached in self.progress.values())
