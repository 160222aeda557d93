"""Who can't win any more, told from answers to the validation images while strategies still train.

A strategy is looked at when 1/16, 1/8, 1/4 and 1/2 of its last phase are done, and at its end. Its reach is the score
that it may yet come to: learning curves of one data set are alike once scores are stretched to logits, so that what is
still to come is told from how much of the plan is done and from what the last doubling of it brought (curves are
extrapolated so by Domhan et al., IJCAI 2015, by more elaborate models). How far recorded curves lay from that is the
reach's uncertainty; ``tests/benchmarks/racing.py`` records and fits them. Together with the noise of a paired
difference on the validation images it bounds how far a strategy stays behind the best one so far. Who stays behind is
stopped; who may tie is not.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from tasks.arrays import Floats, Integers
from tasks.comparison import statistics
from tasks.comparison.statistics import METRIC_NAMES

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of the last phase, at which strategies are looked at
FEWEST_STEPS = 10  # before the first look
CONFIDENCE = 0.975  # one-sided, that who is stopped would have stayed behind
RESAMPLES = 400
LEAST_SHOWN = 0.0005  # of a difference: less is nothing in three digits


@dataclass(frozen=True)
class Gain:
    """What recorded curves gained from a look to their end, in logits of the score.

    Attributes:
        mean: without a rise before the look; 0 or more.
        per_rise: the more for what the last doubling brought; 0 or more.
        spread: standard deviation around that.
    """

    mean: float
    per_rise: float
    spread: float


# By the share of the last phase that is done: fitted to 33 looks at the shipped strategies on solar cells and hand
# signs (400 images of 96 pixels each), spreads rounded up; at 1/16 there were none, so that it is wider than at 1/8.
GAINS = {
    1 / 16: Gain(1.0, 0.0, 1.0),
    1 / 8: Gain(0.8, 0.0, 0.8),
    1 / 4: Gain(0.25, 0.75, 0.4),
    1 / 2: Gain(0.0, 0.45, 0.15),
}


@dataclass(frozen=True)
class Look:
    """A strategy as it is seen when it pauses.

    Attributes:
        probabilities: its answers to the validation images, shape (images, classes).
        share: of its last phase that is done; 1 once it has come to its end.
        images: that it has trained on, summed over its epochs, and those of its whole plan.
    """

    probabilities: Floats
    share: float
    images: int
    of_images: int


@dataclass(frozen=True)
class Evidence:
    """Why a strategy can't win any more; scores are on the validation images.

    Attributes:
        against: the leader's name.
        metric: that scores are of.
        score, leader: of the strategy after ``images`` of the ``of_images`` of its plan, and of the leader.
        difference: the leader's score less the strategy's, with the standard error of paired resamples.
        standard_error: of the difference.
        reach: the best that the strategy could still come to: an upper bound.
        at_least: so far it stays behind: a lower bound.
    """

    against: str
    metric: str
    score: float
    leader: float
    difference: float
    standard_error: float
    reach: float
    at_least: float
    images: int
    of_images: int

    def sentence(self) -> str:
        """Return it as people are told."""
        metric = METRIC_NAMES[self.metric]
        return f"{metric} {self.score:.3f} against {self.leader:.3f} of {self.against}, {behind(self.at_least)}"


def behind(at_least: float) -> str:
    """Return how far a strategy stays behind, in words: ``at least 0.170 behind``."""
    return f"at least {at_least:.3f} behind" if at_least >= LEAST_SHOWN else "surely behind"


def rungs(first: int, last: int) -> list[int]:
    """Return after how many steps a strategy is looked at, its end last.

    Args:
        first: steps before its last phase.
        last: steps of its whole plan.
    """
    marks = {first + round(share * (last - first)) for share in SHARES}
    return [*sorted(mark for mark in marks if first + FEWEST_STEPS <= mark < last), last]


class Standings:
    """What all strategies have shown so far, scored on the same resamples of the validation images.

    Args:
        targets: classes of the validation images, shape (images,).
        metric: one of ``statistics.METRICS``.
    """

    def __init__(self, targets: Integers, metric: str) -> None:
        self._targets, self._metric = targets, metric
        whole = np.ones((1, len(targets)), dtype=np.float32)
        self._counts = np.concatenate([whole, statistics.draw(len(targets), RESAMPLES, 0)])
        self._looks: dict[str, Look] = {}
        self._scores: dict[str, Floats] = {}
        self._before: dict[str, float] = {}

    def add(self, name: str, look: Look) -> None:
        """Take note of a strategy's next look."""
        if name in self._scores:
            self._before[name] = self._score(name)
        self._looks[name] = look
        self._scores[name] = statistics.METRICS[self._metric](self._counts, self._targets, look.probabilities)

    def drop(self, name: str) -> None:
        """Forget a strategy."""
        for known in (self._looks, self._scores, self._before):
            known.pop(name, None)

    @property
    def leader(self) -> str | None:
        """The strategy with the best score so far; None where nobody has one."""
        scored = [name for name in self._looks if np.isfinite(self._score(name))]
        return max(scored, key=self._score, default=None)

    def sentence(self, name: str) -> str:
        """Return what a strategy has shown, as people are told."""
        leader = self.leader
        others = "the best so far" if leader in {None, name} else f"{leader} {self._score(str(leader)):.3f}"
        return f"{METRIC_NAMES[self._metric]} {self._score(name):.3f}, {others}"

    def expected(self, name: str) -> float:
        """Return the score that a strategy is expected to end with."""
        return float(expit(self._end(name)[0])) if np.isfinite(self._score(name)) else 0.0

    def lost(self) -> dict[str, Evidence]:
        """Return why strategies that have not come to their end can't win any more, by name."""
        return dict(self._lost())

    def _lost(self) -> Iterator[tuple[str, Evidence]]:
        leader = self.leader
        for name, look in self._looks.items():
            if leader is None or name == leader or look.share >= 1 or not np.isfinite(self._score(name)):
                continue
            evidence = self.against(name, leader)
            if evidence.at_least > 0:
                yield name, evidence

    def against(self, name: str, leader: str) -> Evidence:
        """Hold a strategy against the leader."""
        score, best = self._score(name), self._score(leader)
        differences = self._scores[leader][1:] - self._scores[name][1:]
        noise = float(np.nanstd(differences))
        end, spread = self._end(name)
        deviations = float(norm.ppf(CONFIDENCE))
        expected, reach = (max(score, float(expit(end + up))) for up in (0.0, deviations * spread))
        bound = float(np.hypot(reach - expected, deviations * noise))
        look = self._looks[name]
        return Evidence(
            against=leader, metric=self._metric, score=score, leader=best, difference=best - score,
            standard_error=noise, reach=reach, at_least=best - expected - bound,
            images=look.images, of_images=look.of_images,
        )  # fmt: skip

    def _score(self, name: str) -> float:
        return float(self._scores[name][0])

    def _end(self, name: str) -> tuple[float, float]:
        """Return the logit of the score that a strategy is expected to end with, and its standard deviation."""
        share, now = self._looks[name].share, self._logit(self._score(name))
        if share >= 1:
            return now, 0.0
        gain = GAINS[max((known for known in GAINS if known <= share), default=min(GAINS))]
        before = self._before.get(name)
        rise = 0.0 if before is None else max(0.0, now - self._logit(before))
        return now + gain.mean + gain.per_rise * rise, gain.spread

    def _logit(self, score: float) -> float:
        """Return a score as a logit; none is nearer to 0 or 1 than half an image."""
        least = 0.5 / len(self._targets)
        return float(logit(np.clip(score, least, 1 - least)))
