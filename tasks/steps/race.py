"""Who is trained to the end: with a time budget strategies race, rung by rung; without one nobody is stopped."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks import layout
from tasks.errors import UserError
from tasks.files import atomic_path, write_json
from tasks.params import load_params

if TYPE_CHECKING:  # without a race nothing of it is imported, nor what trains
    from tasks.comparison.racing import Runner
    from tasks.runs.fine_tuning import FineTuning
    from tasks.training.checkpoints import Progress

Stops = dict[str, tuple[int, str]]  # of a strategy: after how many epochs it stops, and why


def race() -> list[str]:
    """Write for every strategy after how many epochs it stops, and return what to say of it.

    What is trained here is taken over by the strategy's fine-tuning. Without a budget nothing is trained.
    """
    params = load_params(layout.PARAMS)
    budget = params.train.budget
    stops = Race.of(list(params.strategies), budget).run() if budget else {}
    with atomic_path(layout.RACE) as folder:
        folder.mkdir()
        for name in params.strategies:
            epochs, reason = stops.get(name, (None, ""))
            write_json(folder / layout.race_file(name).name, {"epochs": epochs, "reason": reason})
    return [f"{name} stops after epoch {epochs}: {reason}" for name, (epochs, reason) in stops.items()]


def train(fine_tuning: "FineTuning", until: int) -> "Progress":
    """Train a strategy up to an epoch, unless its checkpoint is there or farther; return what it has behind it."""
    from tasks.runs.launch import processes_for
    from tasks.training import checkpoints

    behind = checkpoints.progress_of(fine_tuning.checkpoint)
    if behind and behind.epoch >= until:
        return behind
    with processes_for(fine_tuning.assignment(until)) as processes:
        return fine_tuning.train(lambda _: None, until, processes).progress


@dataclass
class Race:
    """Strategies that are trained in turns; those that average weights at their end are trained behind the race.

    A checkpoint may be farther than the race: a strategy is judged by its epochs up to the rung, whatever follows them,
    so that a race that was killed ends as it would have.

    Attributes:
        entrants: the fine-tunings of all strategies, planned.
        budget: seconds of training.
        images: of the validation split.
        train: brings a strategy up to an epoch.
        progress: of each strategy, and up to which epoch it counts.
    """

    entrants: Sequence["FineTuning"]
    budget: float
    images: int
    train: Callable[["FineTuning", int], "Progress"] = train
    progress: dict[str, tuple["Progress", int]] = field(default_factory=dict)

    @classmethod
    def of(cls, strategies: Sequence[str], budget: float) -> "Race":
        """Plan a race; a strategy that can't be planned is left out, its own fine-tuning says why."""
        from tasks.runs.fine_tuning import FineTuning

        entrants = []
        for name in strategies:
            try:
                entrant = FineTuning.read(name)
                entrant.make_plan()
            except UserError:
                continue
            entrant.release_network()  # as only one of them is trained at a time
            entrants.append(entrant)
        return cls(entrants, budget, len(entrants[0].data.rows("val")) if entrants else 0)

    def run(self) -> Stops:
        """Return after how many epochs strategies stop, and why."""
        from tasks.comparison.racing import dominated

        racers = [entrant for entrant in self.entrants if entrant.settings.soup == 1 and not entrant.settings.wise_ft]
        running = {entrant.strategy: entrant for entrant in sorted(racers, key=lambda racer: racer.plan.trainable())}
        stops: Stops = {}
        rung = 0
        while running:
            for name, racer in list(running.items()):
                if rung and self._spent() >= self.budget:
                    break
                if not self._has_more(racer, rung):
                    del running[name]
            if rung and self._spent() >= self.budget:
                return stops | {name: (self.progress[name][1], "the budget is spent") for name in running}
            lost = dominated(self._runners(running), self.images)
            stops |= {name: (self.progress[name][1], "it can't catch up any more") for name in lost}
            running = {name: racer for name, racer in running.items() if name not in lost}
            rung += 1
        return stops

    def _has_more(self, racer: "FineTuning", rung: int) -> bool:
        """Train up to a rung, and return whether there is more to train."""
        from tasks.comparison.racing import rungs
        from tasks.training.loop import DivergedError

        ends = rungs(racer.plan.epochs, racer.earliest)
        until = ends[min(rung, len(ends) - 1)]
        try:
            progress = self.train(racer, until)
        except DivergedError:
            self.progress.pop(racer.strategy, None)
            return False  # its own fine-tuning says so
        self.progress[racer.strategy] = progress, min(until, progress.epoch)
        return progress.epoch >= until and until < racer.plan.epochs

    def _runners(self, running: Mapping[str, "FineTuning"]) -> "dict[str, Runner]":
        """Return all that have trained; those that don't run any more count as finished."""
        from tasks.comparison.racing import Runner

        entrants = {entrant.strategy: entrant for entrant in self.entrants}
        return {
            name: Runner(
                entrants[name].plan.epochs if name in running else reached,
                entrants[name].earliest,
                progress.history[:reached],
            )
            for name, (progress, reached) in self.progress.items()
        }

    def _spent(self) -> float:
        return sum(progress.seconds * reached / progress.epoch for progress, reached in self.progress.values())
