"""How long a job takes: seconds by strategy, from what the params plan and how fast this machine is.

An epoch on images costs its training images a training step each, and its validation images a forward pass each; fewer
pixels cost less in proportion. Where the network's beginning is frozen, what it answers is kept: it costs a forward
pass of that beginning for each version of an image, once, and an epoch the rest of the network. Everything is at most:
a race, or ``patience``, may end a training early.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks import layout
from tasks.errors import UserError
from tasks.files import read_json, write_json
from tasks.params import Params, PhaseParams, StrategyParams
from tasks.progress import duration
from tasks.record import Record
from tasks.runs.repeats import Repeat, repeats
from tasks.strategies.selectors import HEAD, select
from tasks.wording import counted

PLANNED = layout.WORK / "planned.json"  # the last estimate
AROUND = 15.0  # seconds of a strategy besides training: the process's start, evaluation, what is tracked
AROUND_COMPARISON = 30.0  # seconds: statistics, figures, report, the champion's registration
DEFAULT_VIEWS = 2  # as in training
TIED = 3  # strategies, usually, whose answers to corrupted images are asked for
CORRUPTIONS = 5  # kinds
LAPTOP_SIDE = 288  # pixels
A_STEP = 0.005  # seconds of a step besides the network: the batch, the optimizer

Statistics = Literal["frozen", "train"]  # what BatchNorm layers do with theirs in a training
SideOfEpoch = Callable[[StrategyParams, int, int], float]


@dataclass(frozen=True)
class Images:
    """Numbers of images, by split."""

    train: int
    val: int
    test: int


@dataclass(frozen=True)
class Speeds:
    """How fast a network is on a machine, for images of the working size.

    Attributes:
        steps: seconds an image that the whole network is trained on, by what the BatchNorm layers do (``batchnorm``).
        forward: seconds an image that it answers.
        shares: of a training step's time, by the network's part, from the image to the logits.
        new: parts that train in every phase, because their weights are new.
    """

    steps: Mapping[Statistics, float]
    forward: float
    shares: Mapping[str, float]
    new: tuple[str, ...] = ()

    def behind(self, trains: Sequence[str]) -> float:
        """Return the share of a pass from the first part that trains on; 1 for what is no part of this network."""
        parts = list(self.shares)
        try:
            chosen = {*select(trains, parts), *self.new}
        except UserError:  # groups with names of their own
            return 1.0
        first = next((place for place, part in enumerate(parts) if part in chosen), 0)
        return sum(list(self.shares.values())[first:]) if first else 1.0


# MobileNetV2 on two cores with AVX-512, in batches of 16: images a second trained, and answered.
LAPTOP = Speeds(
    steps={"train": 1 / 19, "frozen": 1 / 29},
    forward=1 / 98,
    shares={
        "stem": 0.03, "stage1": 0.05, "stage2": 0.36, "stage3": 0.18, "stage4": 0.25, "stage5": 0.13, "head": 0.0,
    },
)  # fmt: skip


class Estimate(Record):
    """``data/work/planned.json``: how long a job takes at most.

    Attributes:
        strategies: seconds of each strategy, with its repeats.
        comparison: seconds of the comparison behind them.
        images: training images and those that are held out, together.
        measured: whether the speeds were measured on this machine.
    """

    strategies: dict[str, float]
    comparison: float
    images: int
    measured: bool

    @property
    def seconds(self) -> float:
        """Of the whole job."""
        return sum(self.strategies.values()) + self.comparison

    @property
    def sentence(self) -> str:
        """The sum, and how it was found."""
        basis = "by the speed measured on this machine" if self.measured else "by the speed of another machine"
        count = counted(len(self.strategies), "strategies", "strategy")
        return f"{count} on {self.images:,} images: at most {duration(self.seconds)} {basis}"

    def lines(self) -> list[str]:
        """Return the plan as a table in text, a line a strategy, and the sum."""
        width = max(map(len, [*self.strategies, "comparison"]))
        rows = {**self.strategies, "comparison": self.comparison}
        table = [f"plan: {name:<{width}}  at most {duration(seconds):>8}" for name, seconds in rows.items()]
        return [*table, f"plan: {self.sentence}"]


def estimate(
    candidates: Mapping[str, tuple[StrategyParams, Speeds]],
    params: Params,
    images: Images,
    folds: int,
    side_of: SideOfEpoch,
    *,
    measured: bool,
) -> Estimate:
    """Return how long all candidates and their comparison take at most.

    Args:
        candidates: by title, each with the speeds of its network on the machine.
        params: how they are repeated and compared.
        images: that there are.
        folds: that are validated on, one after the other; 0: the validation split is.
        side_of: returns, for a strategy, an epoch (from 0) and the number of epochs, the side that the epoch's images
            have, as a share of the working size.
        measured: whether the speeds were measured.
    """
    requested = repeats(params.train, folds)
    strategies = {
        name: sum(
            training_seconds(settings, _of_repeat(images, repeat, folds), speeds, side_of) + AROUND
            for repeat in requested
        )
        for name, (settings, speeds) in candidates.items()
    }
    forward = max(speeds.forward for _, speeds in candidates.values())
    tested = images.test * len(strategies) * len(requested)
    asked = params.compare.robustness_images
    corrupted = (images.val if asked is None else min(images.val, asked)) * CORRUPTIONS * min(TIED, len(strategies))
    return Estimate(
        strategies=strategies,
        comparison=AROUND_COMPARISON + (tested + corrupted) * forward,
        images=images.train + images.val + images.test,
        measured=measured,
    )


def training_seconds(settings: StrategyParams, images: Images, speeds: Speeds, side_of: SideOfEpoch) -> float:
    """Return how long one fine-tuning of a strategy trains at most; arguments as of ``estimate``."""
    epochs = sum(phase.epochs or 0 for phase in settings.schedule())
    seconds, first = 0.0, 0
    for phase in settings.schedule():
        of_phase = range(first, first + (phase.epochs or 0))
        sides = [side_of(settings, epoch, epochs) for epoch in of_phase]
        seconds += _phase_seconds(settings, phase, images, speeds, sides)
        first = of_phase.stop
    return seconds * settings.soup


def _phase_seconds(
    settings: StrategyParams, phase: PhaseParams, images: Images, speeds: Speeds, sides: Sequence[float]
) -> float:
    behind, epochs, pixels = speeds.behind(phase.train), len(sides), sum(side**2 for side in sides)
    in_front, is_solved = 1 - behind, phase.solver == "lbfgs"
    trained = 0.0
    if not is_solved:
        trained = images.train * (
            pixels * behind * speeds.steps[settings.batchnorm] + epochs * A_STEP / settings.batch_size
        )
    validated = images.val * epochs * speeds.forward
    if not in_front:
        return trained + validated
    if not settings.activations_gib:  # what is in front is computed in every epoch
        return trained + validated + images.train * pixels * in_front * speeds.forward
    is_head = {*phase.train} == {HEAD} and not speeds.new
    views = 0 if is_solved else settings.views if settings.views is not None else 0 if is_head else DEFAULT_VIEWS
    versions = min(views, epochs) * pixels / epochs if views else 1.0
    kept = images.train * versions + images.val
    if is_head:  # the probe has kept what the images as they are lead to
        kept = images.train * versions if views else 0.0
    return trained + validated * behind + kept * in_front * speeds.forward


def _of_repeat(images: Images, repeat: Repeat, folds: int) -> Images:
    """Return the images of one of a strategy's fine-tunings."""
    learnt = images.train + images.val
    val = learnt // folds if folds else images.val
    return Images(round((learnt - val) * repeat.share), val, images.test)


def remember(planned: Estimate) -> None:
    """Keep an estimate for the next job, and for those who show it."""
    write_json(PLANNED, planned.model_dump(mode="json"))


def remembered() -> Estimate | None:
    """Return the last estimate; None where there is none that can be read."""
    try:
        return Estimate.model_validate(read_json(PLANNED))
    except (OSError, ValueError):
        return None


def first_words(params: Params, files: int, size: int) -> str:
    """Return what a job will do and about how long that takes, before anything of it is known but the files.

    By the last estimate if it was for the same strategies, else by the speed of a 2-core laptop.

    Args:
        params: what is planned.
        files: that are listed.
        size: of the working images, in pixels.
    """
    known = remembered()
    candidates = {params.title(name): settings for name, settings in params.candidates.items()}
    networks = min(len(params.networks), params.screen.keep)
    if known and known.measured and _is_for(known, list(candidates), networks * len(params.strategies)):
        fixed = AROUND * len(known.strategies) + AROUND_COMPARISON
        seconds = fixed + max(0.0, known.seconds - fixed) * files / max(1, known.images)
        basis = "by the speed measured here before"
    else:
        test, val = (round(share * files) for share in (params.split.test, params.split.validation))
        pixels = (size / LAPTOP_SIDE) ** 2
        steps = {statistics: seconds * pixels for statistics, seconds in LAPTOP.steps.items()}
        speeds = Speeds(steps, LAPTOP.forward * pixels, LAPTOP.shares)
        images = Images(files - test - val, val, test)
        some = dict(list(candidates.items())[: networks * len(params.strategies)])
        on_laptop = {name: (settings, speeds) for name, settings in some.items()}
        seconds = estimate(on_laptop, params, images, 0, lambda *_: 1.0, measured=False).seconds
        basis = "by the speed of MobileNetV2 on a 2-core laptop, measured once the network is here"
    strategies = counted(networks * len(params.strategies), "strategies", "strategy")
    return f"plan: {strategies} on {files:,} files: at most {duration(seconds)} {basis}"


def _is_for(known: Estimate, candidates: Sequence[str], count: int) -> bool:
    """Return whether an estimate is for as many of these candidates."""
    return len(known.strategies) == count and set(known.strategies) <= set(candidates)
