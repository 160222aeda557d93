"""What a probe of frozen features reached, as the steps hand it on; how it is measured is in ``transferability``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

from pydantic import Field

from tasks.record import Record

NEIGHBOURS, LINEAR = "nearest neighbours", "linear probe"
CONFIDENCE = 0.95


class ProbeScores(Record):
    """What a probe reached on held-out images, one value a fold; empty where nothing could be held out."""

    folds: int = Field(description="that the images were divided into, each time they were")
    balanced_accuracy: list[float] = Field(description="mean recall of the classes that occur in the fold")
    auroc: list[float | None] = Field(description="mean over the classes; null in a fold with a single class")

    @property
    def mean_auroc(self) -> float | None:
        """Mean over the folds that have one."""
        defined = [value for value in self.auroc if value is not None]
        return fmean(defined) if defined else None


class Transferability(Record):
    """What features say of the classes; for every score more is better.

    LogME and the H-score are for comparing features of the same images, the latter of about the same number, too.
    """

    images: int
    features: int
    neighbours: int = Field(description="k of the nearest neighbours; 0 where nothing could be held out")
    probes: dict[str, ProbeScores]
    logme: float = Field(description="log evidence of linear regression on the classes, an image")
    h_score: float = Field(description="between-class variance that the features hold, from 0 to classes - 1")


class Gain(Record):
    """The AUROC of a probe on pretrained features less that on random ones, with its interval at 95%."""

    difference: float
    low: float
    high: float

    @property
    def is_beyond_noise(self) -> bool:
        """Whether the pretrained features are better by more than the noise of the folds."""
        return self.low > 0


@dataclass(frozen=True)
class Pretence:
    """Accuracies of a probe on held-out images, one a draw of the split.

    Attributes:
        probe: what was trained on the features.
        grouped: where no group crosses the split.
        random: where images are drawn one by one, so that groups do.
    """

    probe: str
    grouped: list[float]
    random: list[float]

    @property
    def mean_grouped(self) -> float:
        """Mean accuracy where groups stay whole."""
        return fmean(self.grouped)

    @property
    def mean_random(self) -> float:
        """Mean accuracy where they don't."""
        return fmean(self.random)

    @property
    def difference(self) -> float:
        """What a random split pretends, in accuracy."""
        return self.mean_random - self.mean_grouped

    @property
    def standard_error(self) -> float:
        """Of the difference."""
        return math.sqrt((variance(self.grouped) + variance(self.random)) / len(self.grouped))


def each_in_a_group(groups: Sequence[str]) -> list[str]:
    """Return the groups of images, those that are in none (empty) each in one of its own."""
    return [group or f" {place}" for place, group in enumerate(groups)]


def gain(pretrained: ProbeScores, random: ProbeScores) -> Gain | None:
    """Return how much better a probe is on pretrained features than on those of random weights.

    The folds of both must be the same. They share training images, and so vary less than independent samples would:
    the variance of the mean difference is corrected for that (Nadeau and Bengio, Inference for the Generalization
    Error, Machine Learning 52, 2003; Bouckaert and Frank, PAKDD 2004, for repeated divisions).

    Args:
        pretrained, random: what the probe reached on features of the same architecture.

    Returns:
        None where fewer than two folds have an AUROC.
    """
    from scipy.stats import t  # takes half a second, which most who read a probe don't need

    pairs = zip(pretrained.auroc, random.auroc, strict=True)
    differences = [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
    if len(differences) < 2:
        return None
    held_out_by_trained = 1 / (pretrained.folds - 1)
    error = stdev(differences) * math.sqrt(1 / len(differences) + held_out_by_trained)
    reach = error * float(t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1))
    mean = fmean(differences)
    return Gain(difference=mean, low=mean - reach, high=mean + reach)
