"""Who is trained to the end: all strategies side by side, rung by rung, within a time budget."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks import layout
from tasks.comparison.racing import Runner, hopeless, rungs
from tasks.files import replacing, write_json
from tasks.params import load_params
from tasks.steps.attempts import CHECKPOINT, Planned, plan_attempt
from tasks.steps.training import trained_network
from tasks.training.checkpoints import Progress
from tasks.training.loop import DivergedError


def race() -> list[str]:
    """Write for every strategy after how many epochs it stops, and return what to say of it.

    What is trained here is taken over by the strategy's fine-tuning. Without a budget nothing is trained.
    """
    params = load_params(layout.PARAMS)
    budget = params.train.budget
    stops = _Race([plan_attempt(name) for name in params.strategies], budget).run() if budget else {}
    with replacing(layout.RACE) as folder:
        folder.mkdir()
        for name in params.strategies:
            epochs, reason = stops.get(name, (None, ""))
            write_json(folder / layout.race_file(name).name, {"epochs": epochs, "reason": reason})
    return [f"{name} stops after epoch {epochs}: {reason}" for name, (epochs, reason) in stops.items()]


@dataclass
class _Race:
    """Strategies that are trained in turns; those that average weights at their end are left to run alone."""

    planned: list[Planned]
    budget: float
    progress: dict[str, Progress] = field(default_factory=dict)

    def run(self) -> dict[str, tuple[int, str]]:
        """Return where strategies stop, and why."""
        running = {
            one.strategy: one
            for one in sorted(self.planned, key=lambda one: one.plan.trainable())
            if one.settings.soup == 1 and not one.settings.wise_ft
        }
        stops: dict[str, tuple[int, str]] = {}
        rung = 0
        while running:
            for name, one in list(running.items()):
                if rung and self._spent() >= self.budget:
                    break
                if not self._train(one, rung):
                    del running[name]
            if rung and self._spent() >= self.budget:
                return stops | {name: (self.progress[name].epoch, "the budget is spent") for name in running}
            lost = hopeless(self._runners(running), len(self.planned[0].data.rows("val")))
            stops |= {name: (self.progress[name].epoch, "it can't catch up any more") for name in lost}
            running = {name: one for name, one in running.items() if name not in lost}
            rung += 1
        return stops

    def _train(self, one: Planned, rung: int) -> bool:
        """Train up to a rung, and return whether there is more to train."""
        ends = rungs(one.plan.epochs, one.earliest)
        until = ends[min(rung, len(ends) - 1)]
        try:
            self.progress[one.strategy] = trained_network(
                one.settings, one.params, one.data, one.measurement, one.frozen, one.work / CHECKPOINT, one.reporter,
                lambda _: None, until,
            ).progress  # fmt: skip
        except DivergedError:
            self.progress.pop(one.strategy, None)
            return False  # its own fine-tuning says so
        return self.progress[one.strategy].epoch == until < one.plan.epochs

    def _runners(self, running: Mapping[str, Any]) -> dict[str, Runner]:
        """Return all that have trained; those that don't run any more count as finished."""
        plans = {one.strategy: one for one in self.planned}
        return {
            name: Runner(
                plans[name].plan.epochs if name in running else progress.epoch, plans[name].earliest, progress.history
            )
            for name, progress in self.progress.items()
        }

    def _spent(self) -> float:
        return sum(progress.seconds for progress in self.progress.values())
