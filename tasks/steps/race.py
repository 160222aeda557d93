"""Who is trained to the end: strategies race, and who can't win any more by the evidence so far is stopped."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from tasks import layout
from tasks.errors import UserError
from tasks.files import atomic_path, write_json
from tasks.params import Start, load_params
from tasks.runs.candidates import LEFT_OUT, competing, milliseconds_of, reasons

if TYPE_CHECKING:  # without a race nothing of it is imported, nor what trains
    from tasks.comparison.racing import Contestant, Evidence, Look, Standings
    from tasks.runs.fine_tuning import FineTuning
    from tasks.training.rungs import Rung

TIME_IS_UP = "the budget is spent"


def race() -> list[str]:
    """Write for every candidate after how many images it stops, and why, or why it is left out.

    What is trained here is taken over by the candidate's fine-tuning.

    Returns:
        The candidates whose training has ended.
    """
    params = load_params(layout.PARAMS)
    budget, metric, field = params.train.budget, params.compare.metric, list(competing(params))
    stops: dict[str, Stop] = {}
    ended: list[str] = []
    if budget != "none":
        stops, ended = _raced(field, None if budget == "auto" else budget, metric)
    content = {name: asdict(stops.get(name, Stop())) for name in field}
    content |= {name: {LEFT_OUT: reason} for name, reason in reasons(params).items()}
    with atomic_path(layout.RACE) as folder:
        folder.mkdir()
        for name, said in content.items():
            write_json(folder / layout.race_file(name).relative_to(layout.RACE), said)
    return ended


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
    return replace(seen, seconds=seen.seconds + fine_tuning.measurement.seconds)


@dataclass(frozen=True)
class Racer:
    """A strategy in the race.

    Attributes:
        rungs: the steps at which it is looked at; the last is the end of its plan.
        start: of its last phase, in steps.
        weights: what they are before it trains.
        parameters, trainable: number of all, and of those that train.
        cost: of an image, as a share of what one costs that trains the whole network; where several networks compete,
            times the milliseconds in which its own answers an image.
        milliseconds: in which its network answers an image; 0 where one network competes alone.
        cheaper: the costs that tell which of two that tie is cheaper.
        look: trains it up to one of its rungs, and says what it shows there.
        images_after: says how many images it has trained on after so many steps.
        say: tells people of it.
    """

    name: str
    rungs: Sequence[int]
    start: int
    weights: Start
    parameters: int
    trainable: int
    cost: float
    milliseconds: float
    cheaper: tuple[str, ...]
    look: Callable[[int], "Rung"]
    images_after: Callable[[int], int]
    say: Callable[[str], None]

    @classmethod
    def of(cls, fine_tuning: "FineTuning") -> "Racer":
        """Let a planned fine-tuning race."""
        from tasks.comparison.racing import rungs

        plan, start, steps = fine_tuning.plan, fine_tuning.steps_before_last_phase, fine_tuning.steps
        looks = rungs(start, steps)
        frozen = next(place for place, group in enumerate(plan.groups) if plan.thaws_at(group.name) is not None)
        gradients = 1 - frozen / len(plan.groups)  # run, roughly, through this share of the network
        milliseconds = milliseconds_of(fine_tuning.data.network, fine_tuning.params)
        return cls(
            fine_tuning.title, looks, start, fine_tuning.start, sum(group.size for group in plan.groups),
            plan.trainable(), gradients * (milliseconds or 1.0), milliseconds, fine_tuning.params.compare.cheaper,
            partial(look, fine_tuning), fine_tuning.images_after, fine_tuning.reporter.say,
        )  # fmt: skip

    def cost_of_look(self, place: int) -> float:
        """Return what a look (from 0) costs, compared with those of others."""
        before = self.images_after(self.rungs[place - 1]) if place else 0
        return self.cost * (self.images_after(self.rungs[place]) - before)

    @property
    def contestant(self) -> "Contestant":
        """What the standings know of it before."""
        from tasks.comparison.racing import Contestant

        costs = {
            "milliseconds": self.milliseconds,
            "parameters": self.parameters,
            "trainable_parameters": self.trainable,
            "train_seconds": self.cost * self.images_after(self.rungs[-1]),  # in proportion
        }
        return Contestant(tuple(costs[name] for name in self.cheaper), self.weights)

    def seen_at(self, seen: "Rung") -> "Look":
        """Return what it showed as the standings take it."""
        from tasks.comparison.racing import Look

        share = 1.0 if seen.is_over else (seen.steps - self.start) / (self.rungs[-1] - self.start)
        return Look(seen.probabilities, share, self.images_after(seen.steps), self.images_after(self.rungs[-1]))


@dataclass
class Race:
    """Strategies that are trained in turns, a look at a time.

    Everyone is looked at once. It is always the one whose next look costs least that goes on: by what the cheap ones
    have come to, the dear ones are stopped early. A strategy is judged by its kept looks alone, so that a race that was
    killed ends as it would have.

    Attributes:
        racers: the strategies.
        seconds: of training, for all together; None: without limit.
        standings: what they have shown so far.
        ended: those that have trained to the end of their plan.
    """

    racers: Sequence[Racer]
    seconds: float | None
    standings: "Standings"
    ended: list[str] = field(default_factory=list)
    _running: dict[str, Racer] = field(default_factory=dict)
    _looks: dict[str, int] = field(default_factory=dict)  # number of them, by strategy
    _spent: dict[str, float] = field(default_factory=dict)
    _stops: dict[str, Stop] = field(default_factory=dict)

    def run(self) -> dict[str, Stop]:
        """Return where strategies stop."""
        if len(self.racers) < 2 and self.seconds is None:
            return {}
        self._running = {racer.name: racer for racer in sorted(self.racers, key=lambda racer: racer.cost_of_look(0))}
        for one in list(self._running.values()):
            self._go_on(one)
        while racer := self._next():
            if self.seconds is not None and sum(self._spent.values()) >= self.seconds:
                for name in list(self._running):
                    self._stop(name, TIME_IS_UP)
            else:
                self._go_on(racer)
        return self._stops

    def _next(self) -> Racer | None:
        """Return who goes on; None once it makes no difference any more."""
        is_decided = self.seconds is None and self.standings.names == list(self._running)[:1]
        if not self._running or is_decided:
            return None
        return min(self._running.values(), key=lambda racer: racer.cost_of_look(self._looks[racer.name]))

    def _go_on(self, racer: Racer) -> None:
        """Train up to the next look, and stop whoever can't win by what it shows."""
        from tasks.training.loop import DivergedError

        name, looks = racer.name, self._looks.get(racer.name, 0)
        try:
            seen = racer.look(racer.rungs[looks])
        except DivergedError:  # its own fine-tuning says so
            del self._running[name]
            self.standings.drop(name)
            return
        self._looks[name], self._spent[name] = looks + 1, seen.seconds
        shown = racer.seen_at(seen)
        self.standings.add(name, shown)
        racer.say(f"after {shown.images:,} of {shown.of_images:,} images: {self.standings.sentence(name)}")
        if seen.is_over:
            self.ended.append(name)
            del self._running[name]
        while lost := self.standings.loser():
            name, evidence = lost
            self._stop(name, evidence.sentence(), evidence)

    def _stop(self, name: str, reason: str, evidence: "Evidence | None" = None) -> None:
        self.standings.drop(name)
        racer = self._running.pop(name)
        steps, last = racer.rungs[self._looks[name] - 1], racer.rungs[-1]
        images = racer.images_after(steps)
        self._stops[name] = Stop(images, steps / last, reason, evidence)
        racer.say(f"stops after {images:,} of {racer.images_after(last):,} images: {reason}")


def _planned(strategies: Sequence[str]) -> "list[FineTuning]":
    """Plan strategies; one that can't be planned is left out, its own fine-tuning says why."""
    from tasks.runs.fine_tuning import FineTuning

    planned: list[FineTuning] = []
    for name in strategies:
        try:
            fine_tuning = FineTuning.read(name)
            fine_tuning.make_plan()
        except UserError:
            continue
        fine_tuning.release_network()  # as only one of them is trained at a time
        planned.append(fine_tuning)
    return planned


def _raced(strategies: Sequence[str], seconds: float | None, metric: str) -> tuple[dict[str, Stop], list[str]]:
    """Let strategies race; those that average weights at their end are trained behind the race.

    Returns:
        Where strategies stop, and those whose training has ended, stopped or not.
    """
    from tasks.comparison.racing import Standings

    planned = _planned(strategies)
    racers = [Racer.of(known) for known in planned if known.settings.soup == 1 and not known.settings.wise_ft]
    if not racers:
        return {}, []
    targets, contestants = planned[0].data.split("val").targets.numpy(), {one.name: one.contestant for one in racers}
    race = Race(racers, seconds, Standings(targets, metric, contestants))
    by_title, names = race.run(), {known.title: known.strategy for known in planned}
    for fine_tuning in planned:
        fine_tuning.forget_other_rungs()
    stops, ended = {names[title]: stop for title, stop in by_title.items()}, {names[title] for title in race.ended}
    return stops, [name for name in strategies if name in stops or name in ended]
