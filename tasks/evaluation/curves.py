"""A fine-tuning's losses, beside what guessing would cost and what the noise of the images is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import special

from tasks.arrays import Flags, Floats, Integers
from tasks.evaluation import suggestions
from tasks.evaluation.metrics import LEAST_PROBABILITY
from tasks.params import StrategyParams
from tasks.strategies.selectors import AUXILIARY, HEAD

LEAST_SPREAD = 0.5  # answers that are all alike, as those of a network that hardly trained, hide how losses spread
CLEARLY = 2.0  # standard errors
OF_NORMAL = 0.6745  # median absolute value of a standard normal variable

Loss = TypeVar("Loss", float, Floats)


@dataclass(frozen=True)
class Run:
    """A fine-tuning that ended, as its outputs record it.

    Attributes:
        name: the strategy.
        settings: the strategy's, shared ones included.
        history: a row an epoch, one at least. Of a run that failed because its loss became non-finite, the last row is
            that of the epoch in which it did, with losses that are not a number.
        phases: epochs of each phase of the plan.
        thaws_at: the first epoch in which each part trains, None for one that stays frozen; from the image to the
            logits.
        train_counts: images of each class in the training split, shape (classes,).
        targets: classes of the validation images as integers, shape (images,).
        probabilities: of the validation images, shape (images, classes); None for a run that failed.
        classes: their names; empty: their numbers are names enough.
    """

    name: str
    settings: StrategyParams
    history: Sequence[Mapping[str, float]]
    phases: Sequence[int]
    thaws_at: Mapping[str, int | None]
    train_counts: Integers
    targets: Integers
    probabilities: Floats | None
    classes: Sequence[str] = ()

    @property
    def answers(self) -> Floats:
        """The probabilities.

        Raises:
            ValueError: the run failed.
        """
        if self.probabilities is None:
            raise ValueError(f"{self.name} failed and answers nothing")
        return self.probabilities

    @property
    def trained(self) -> set[str]:
        """Names of the parts that train."""
        return {name for name, epoch in self.thaws_at.items() if epoch is not None}

    @property
    def trains_pretrained(self) -> bool:
        """Whether pretrained weights train, besides a head."""
        return self.settings.start == "pretrained" and bool(self.trained - {HEAD, AUXILIARY})

    @property
    def is_probe(self) -> bool:
        """Whether the head alone trains, on pretrained features."""
        return self.settings.start == "pretrained" and self.trained - {AUXILIARY} == {HEAD}

    @property
    def topmost_frozen(self) -> str | None:
        """The part nearest to the head that is frozen as a whole, None if there is none."""
        trained = {name.partition(".")[0] for name in self.trained} | {AUXILIARY}
        parts = [name.partition(".")[0] for name in self.thaws_at]
        return next((name for name in reversed(parts) if name not in trained), None)

    @property
    def schedule(self) -> range:
        """Places of the phases in which the learning rate rose and fell for the last time."""
        return suggestions.schedule_of(self.settings, self.phases, int(self.history[-1]["epoch"]))

    @property
    def peak_rate(self) -> float:
        """The highest learning rate of the last epoch's phase."""
        return self.history[-1]["learning_rate"]


@dataclass(frozen=True)
class Curves:
    """The losses of a run's last schedule, an entry an epoch.

    Attributes:
        first: the schedule's first epoch.
        train, val: mean losses, shape (epochs,).
        kept: the entry whose weights were kept: the lowest validation loss of the last phase.
        complete: whether training went on to the schedule's end.
        warm: the first entry after the warm-up.
        train_chance, val_chance: the losses of an answer that knows how frequent the classes are, and nothing else. Not
            a number where the training loss has terms that are unknown here (auxiliary classifiers).
        train_least: the least training loss that there is, which is not 0 for smoothed labels.
        untrained: the training loss of a new head, for which all classes are alike, or that of guessing if higher.
        spread: standard deviation of an image's loss, as a share of the mean.
        train_images, val_images: how many there are; of the second so many of equal weight.
        comparable: whether the two losses measure the same, but for augmentation, dropout and smoothed labels, which
            raise that of the training images.
    """

    first: int
    train: Floats
    val: Floats
    kept: int
    complete: bool
    warm: int
    train_chance: float
    train_least: float
    val_chance: float
    untrained: float
    spread: float
    train_images: float
    val_images: float
    comparable: bool

    @property
    def learned(self) -> bool:
        """Whether the training loss ever was clearly below that of an answer that knows nothing; yes if unknown."""
        lowest = float(self.train.min())
        return not self.train_chance - lowest <= CLEARLY * self.train_noise(lowest)

    @property
    def val_jitter(self) -> float:
        """Standard deviation by which validation losses jump about from epoch to epoch, whatever their trend.

        From the median second difference, which for independent jumps has the square root of six times their deviation.
        """
        turns = np.abs(np.diff(self.val, 2))
        return float(np.median(turns)) / (OF_NORMAL * math.sqrt(6)) if len(turns) else 0.0

    @property
    def fitted(self) -> Flags:
        """In which epochs the training loss was nearer to the least that there is than to that of guessing."""
        return self.train < (self.train_chance + self.train_least) / 2

    @property
    def lost_again(self) -> Flags:
        """In which epochs the training loss was clearly above that of guessing, having been clearly below it before.

        Near guessing an image's loss spreads by no more than its mean, however much it does in the end.
        """
        clearly = CLEARLY * self.train_chance / math.sqrt(self.train_images)
        knew = np.logical_or.accumulate(self.train < self.train_chance - clearly)
        lost: Flags = knew & (self.train > self.train_chance + clearly)
        return lost

    def train_noise(self, loss: Loss) -> Loss:
        """Return the standard error of a mean training loss."""
        return self.spread * loss / math.sqrt(self.train_images)

    def val_noise(self, loss: Loss) -> Loss:
        """Return the standard error of a mean validation loss."""
        return self.spread * loss / math.sqrt(self.val_images)


def read(run: Run) -> Curves:
    """Return the curves of a run that did not fail; of a soup's fine-tunings the first one's.

    Raises:
        ValueError: the run failed.
    """
    history, settings = _first_training(run), run.settings
    schedule = suggestions.schedule_of(settings, run.phases, int(history[-1]["epoch"]))
    first, stop = sum(run.phases[: schedule.start]), sum(run.phases[: schedule.stop])
    rows = history[first:]
    val = np.array([row["val_loss"] for row in rows])
    last_phase = min(stop - run.phases[schedule.stop - 1] - first, len(val) - 1)
    losses, weights = _image_losses(run.targets, run.answers, alike=settings.treats_classes_alike)
    mean = float(weights @ losses)
    knows_loss = AUXILIARY not in run.trained
    chance, least = _train_bounds(settings, run.train_counts) if knows_loss else (math.nan, math.nan)
    return Curves(
        first=first,
        train=np.array([row["train_loss"] for row in rows]),
        val=val,
        kept=last_phase + int(val[last_phase:].argmin()),
        complete=len(rows) == stop - first,
        warm=max(1, math.ceil(settings.warmup * (stop - first))),
        train_chance=chance,
        train_least=least,
        val_chance=_val_chance(settings, run.train_counts, run.targets),
        untrained=max(chance, math.log(len(run.train_counts))),
        spread=max(LEAST_SPREAD, math.sqrt(weights @ (losses - mean) ** 2) / max(mean, LEAST_PROBABILITY)),
        train_images=float(run.train_counts.sum()),
        val_images=1 / float(np.sum(weights**2)),
        comparable=knows_loss and not settings.focal_gamma and not settings.logit_adjustment,
    )


def _first_training(run: Run) -> list[Mapping[str, float]]:
    """Return the rows up to where patience or the plan ended the first fine-tuning."""
    rows = list(run.history[: sum(run.phases)])
    best = last_phase = sum(run.phases[:-1])
    for place in range(last_phase, len(rows)):
        if rows[place]["val_loss"] < rows[best]["val_loss"]:
            best = place
        if place - best >= run.settings.patience:
            return rows[: place + 1]
    return rows


def _image_losses(targets: Integers, probabilities: Floats, *, alike: bool) -> tuple[Floats, Floats]:
    """Return each image's loss and its weight in the mean, which is over the images, or over the classes alike."""
    losses = -np.log(np.maximum(probabilities[np.arange(len(targets)), targets], LEAST_PROBABILITY))
    weights = 1 / np.bincount(targets)[targets] if alike else np.ones(len(targets))
    return losses, weights / weights.sum()


def _prior(counts: Integers) -> Floats:
    known: Floats = np.maximum(counts, 1) / np.maximum(counts, 1).sum()
    return known


def _train_bounds(settings: StrategyParams, counts: Integers) -> tuple[float, float]:
    """Return the training losses of an answer as frequent as the labels and of one that knows each label.

    The loss is that of ``tasks.training.gradients.TrainingLoss``. The best answer to a smoothed label still has a loss.
    """
    prior, classes = _prior(counts), len(counts)
    weights = 1 / (classes * prior) if settings.class_weights else np.ones(classes)
    if settings.sampling == "balanced":
        prior = np.full(classes, 1 / classes)
    smoothing = settings.label_smoothing
    aims = ((1 - smoothing) * np.eye(classes) + smoothing / classes) * weights  # a row a label
    frequent = np.tile(prior @ aims / (prior @ aims).sum(), (classes, 1))
    knowing = aims / aims.sum(axis=1, keepdims=True)
    bounds = []
    for answers in (frequent, knowing):
        losses = (1 - np.diag(answers)) ** settings.focal_gamma * -special.xlogy(aims, answers).sum(axis=1)
        bounds.append(float(prior @ losses / (prior @ weights)))
    return bounds[0], bounds[1]


def _val_chance(settings: StrategyParams, counts: Integers, targets: Integers) -> float:
    if settings.treats_classes_alike:
        return math.log(len(counts))
    return float(-np.log(_prior(counts))[targets].mean())
