"""Who is trained to the end: strategies race, and who can't win any more by the evidence so far is stopped."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tasks import layout
from tasks.arrays import Integers
from tasks.errors import UserError
from tasks.files import atomic_path, write_json
from tasks.params import load_params

if TYPE_CHECKING:  # without a race nothing of it is imported, nor what trains
    from tasks.comparison.racing import Evidence, Standings
    from tasks.runs.fine_tuning import FineTuning
    from tasks.training.rungs import Rung

TIME_IS_UP = "the budget is spent"


def race() -> None:
    """Write for every strategy after how many images it stops, and why.

    What is trained here is taken over by the strategy's fine-tuning.
    """
    params = load_params(layout.PARAMS)
    budget, metric = params.train.budget, params.compare.metric
    seconds = None if budget == "auto" else budget
    stops: dict[str, Stop] = {}
    if seconds != "none":
        contest = Race.of(list(params.strategies), seconds, metric)
        stops = contest.run()
        for entrant in contest.entrants:
            entrant.forget_other_rungs()
    with atomic_path(layout.RACE) as folder:
        folder.mkdir()
        for name in params.strategies:
            write_json(folder / layout.race_file(name).name, asdict(stops.get(name, Stop())))


@dataclass(frozen=True)
class Stop:
    """Where a strategy stops.

    Attributes:
        images: that it has trained on by then, summed over its epochs; None: it runs to its end.
        share: of its plan, which its repeats are trained for, too.
        reason: for people.
        evidence: that it can't win any more; None: it stops for another reason.
    """

    images: int | None = None
    share: float = 1.0
    reason: str = ""
    evidence: "Evidence | None" = None


def look(fine_tuning: "FineTuning", until: int) -> "Rung":
    """Train a strategy up to a step, unless it was looked at there before; return what it shows of itself."""
    from tasks.runs.launch import processes_for
    from tasks.training.rungs import Rung

    file = fine_tuning.rung_file(until)
    seen = Rung.read(file)
    if seen is None:
        with processes_for(fine_tuning.assignment(until)) as processes:
            fine_tuning.train(lambda _: None, until, processes)
        seen = Rung.read(file)
    if seen is None:
        raise UserError(f"{file} can't be read, though it was just written: check the disk, and run the command again")
    return seen


@dataclass
class Race:
    """Strategies that are trained in turns, a look at a time.

    Everyone is looked at once, the cheap ones first. From then on the one that is expected to end best goes on, so that
    what the others have to reach is known early; whoever can't reach it any more is stopped. A strategy is judged by
    its kept looks alone, so that a race that was killed ends as it would have.

    Strategies that average weights at their end are trained behind the race.

    Attributes:
        entrants: the fine-tunings of all strategies, planned.
        seconds: of training, for all together; None: without limit.
        standings: what they have shown so far.
        look: trains one up to a step, and says what it shows there.
    """

    entrants: Sequence["FineTuning"]
    seconds: float | None
    standings: "Standings"
    look: Callable[["FineTuning", int], "Rung"] = look
    _running: "dict[str, FineTuning]" = field(default_factory=dict)
    _looks: dict[str, int] = field(default_factory=dict)  # number of them, by strategy
    _spent: dict[str, float] = field(default_factory=dict)
    _stops: dict[str, Stop] = field(default_factory=dict)

    @classmethod
    def of(cls, strategies: Sequence[str], seconds: float | None, metric: str) -> "Race":
        """Plan a race; a strategy that can't be planned is left out, its own fine-tuning says why."""
        from tasks.comparison.racing import Standings
        from tasks.runs.fine_tuning import FineTuning

        entrants: list[FineTuning] = []
        for name in strategies:
            try:
                entrant = FineTuning.read(name)
                entrant.make_plan()
            except UserError:
                continue
            entrant.release_network()  # as only one of them is trained at a time
            entrants.append(entrant)
        targets: Integers = entrants[0].data.split("val").targets.numpy() if entrants else np.array([], dtype=np.int64)
        return cls(entrants, seconds, Standings(targets, metric))

    def run(self) -> dict[str, Stop]:
        """Return where strategies stop."""
        racers = [entrant for entrant in self.entrants if entrant.settings.soup == 1 and not entrant.settings.wise_ft]
        if len(racers) < 2 and self.seconds is None:
            return {}
        self._running = {racer.strategy: racer for racer in sorted(racers, key=_cost)}
        for racer in list(self._running.values()):
            self._go_on(racer)
        while racer := self._next():
            if self.seconds is not None and sum(self._spent.values()) >= self.seconds:
                for name in list(self._running):
                    self._stop(name, TIME_IS_UP)
            else:
                self._go_on(racer)
        return self._stops

    def _next(self) -> "FineTuning | None":
        """Return who goes on: who is expected to end best; None once it makes no difference any more."""
        is_decided = self.seconds is None and list(self._running) == [self.standings.leader]
        if not self._running or is_decided:
            return None
        return self._running[max(self._running, key=self.standings.expected)]

    def _go_on(self, racer: "FineTuning") -> None:
        """Train up to the next look, and stop whoever can't win by what it shows."""
        from tasks.comparison.racing import Look, rungs
        from tasks.training.loop import DivergedError

        name, looks = racer.strategy, self._looks.get(racer.strategy, 0)
        until = rungs(racer.steps_before_last_phase, racer.steps)[looks]
        try:
            seen = self.look(racer, until)
        except DivergedError:  # its own fine-tuning says so
            del self._running[name]
            self.standings.drop(name)
            return
        self._looks[name], self._spent[name] = looks + 1, seen.seconds + racer.measurement.seconds
        before = racer.steps_before_last_phase
        share = 1.0 if seen.is_over else (seen.steps - before) / (racer.steps - before)
        images = racer.images_after(seen.steps), racer.images_after(racer.steps)
        self.standings.add(name, Look(seen.probabilities, share, *images))
        if seen.is_over:
            del self._running[name]
        for lost, evidence in self.standings.lost().items():
            if lost in self._running:
                self._stop(lost, evidence.sentence(), evidence)

    def _stop(self, name: str, reason: str, evidence: "Evidence | None" = None) -> None:
        from tasks.comparison.racing import rungs

        racer = self._running.pop(name)
        steps = rungs(racer.steps_before_last_phase, racer.steps)[self._looks[name] - 1]
        images, of_images = racer.images_after(steps), racer.images_after(racer.steps)
        self._stops[name] = Stop(images, steps / racer.steps, reason, evidence)
        racer.reporter.say(f"stops after {images:,} of {of_images:,} images: {reason}")


def _cost(racer: "FineTuning") -> float:
    """Return what a first look takes, roughly: images by the share of the network that gradients run through."""
    from tasks.comparison.racing import rungs

    groups = racer.plan.groups
    frozen = next(place for place, group in enumerate(groups) if racer.plan.thaws_at(group.name) is not None)
    first = rungs(racer.steps_before_last_phase, racer.steps)[0]
    return racer.images_after(first) * (len(groups) - frozen) / len(groups)
