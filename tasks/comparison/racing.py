"""Who can't win any more, told from answers to the validation images while strategies still train.

A strategy is looked at when 1/16, 1/8, 1/4, 1/2 and 3/4 of its last phase are done, and at its end. Its reach is the
score that it may yet come to: learning curves of one data set are alike once scores are stretched to logits, so that
what is still to come is told from how much of the plan is done and from what was gained since the look before (curves
are extrapolated so by Domhan et al., IJCAI 2015, by more elaborate models). How far recorded curves lay from that is
the reach's uncertainty; ``tests/benchmarks/racing.py`` records and fits them.

The champion is the cheapest to run of those within one standard error of the best, by the paired difference on the
validation images, and of those that cost the same the best. A strategy that costs more than another therefore wins only
with a score above the other's by more than that, one that costs less with a score that is lower by no more, and one
that costs the same with a higher one. Who can't reach what it takes is stopped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from tasks.arrays import Floats, Integers
from tasks.comparison import statistics
from tasks.comparison.statistics import METRIC_NAMES
from tasks.comparison.ties import compared
from tasks.params import Start

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4)  # of the last phase, at which strategies are looked at
FEWEST_STEPS = 10  # before the first look
CONFIDENCE = 0.9  # one-sided, that who is stopped would not have come farther than its reach
RESAMPLES = 400
LEAST_SHOWN = 0.0005  # of a difference: less is nothing in three digits


@dataclass(frozen=True)
class Gain:
    """What recorded curves gained from a look to their end, in logits of the score.

    Attributes:
        mean: without a rise before the look; 0 or more.
        per_rise: the more for what was gained since the look before; 0 or more.
        spread: standard deviation around that.
    """

    mean: float
    per_rise: float
    spread: float


# By what the weights were before, and by the share of the last phase that is done. Rounded from what the shipped
# strategies gained in nine records of five development sets (350 training images of 128 pixels, 220 looks, of which 23
# at 3/4); 1/16 of random weights was looked at once (AUROC 0.37 on the solar cells, which end at about 0.81), and is
# wider than 1/8. A first look has no rise: 1/8 has none, therefore.
GAINS: dict[Start, dict[float, Gain]] = {
    "pretrained": {
        1 / 16: Gain(1.5, 0.0, 1.4),
        1 / 8: Gain(0.75, 0.0, 0.8),
        1 / 4: Gain(0.2, 0.6, 0.45),
        1 / 2: Gain(0.0, 0.25, 0.12),
        3 / 4: Gain(0.0, 0.5, 0.05),
    },
    "random": {
        1 / 16: Gain(1.5, 0.0, 1.0),
        1 / 8: Gain(1.0, 0.0, 0.7),
        1 / 4: Gain(1.0, 0.0, 0.6),
        1 / 2: Gain(1.0, 0.0, 0.7),
        3 / 4: Gain(0.4, 0.0, 0.5),
    },
}


@dataclass(frozen=True)
class Contestant:
    """What is known of a strategy before it trains.

    Attributes:
        costs: to run it, as ``compare.cheaper`` has them; of two that tie, the one that costs less wins.
        start: what its weights are before; random ones rise later than pretrained ones.
    """

    costs: tuple[float, ...]
    start: Start


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
        against: the name of another strategy, called the leader here.
        metric: that scores are of.
        score, leader: of the strategy after ``images`` of the ``of_images`` of its plan, and of the other.
        difference: the leader's score less the strategy's, with the standard error of paired resamples.
        standard_error: of the difference.
        reach: the best that the strategy could still come to: an upper bound.
        to_win: the score that it would have to reach.
        at_least: so far the reach stays behind the leader's score; below 0, so far ahead it is.
    """

    against: str
    metric: str
    score: float
    leader: float
    difference: float
    standard_error: float
    reach: float
    to_win: float
    at_least: float
    images: int
    of_images: int

    def sentence(self) -> str:
        """Return it as people are told."""
        metric = METRIC_NAMES[self.metric]
        return f"{metric} {self.score:.3f} against {self.leader:.3f} of {self.against}, {margin(self.at_least)}"


def margin(at_least: float, leader: str = "") -> str:
    """Return how far a strategy that was stopped stays behind the leader, whom it may name, in words."""
    if at_least >= LEAST_SHOWN:
        return f"at least {at_least:.3f} behind {leader}".rstrip()
    of = f" of {leader}" if leader else ""
    if at_least > -LEAST_SHOWN:
        return f"not ahead{of}"
    return f"at best {-at_least:.3f} ahead{of}, no more than noise"


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
        contestants: the strategies, by name.
    """

    def __init__(self, targets: Integers, metric: str, contestants: Mapping[str, Contestant]) -> None:
        self._targets, self._metric, self._contestants = targets, metric, contestants
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
    def names(self) -> list[str]:
        """Who was added, and not dropped."""
        return list(self._looks)

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

    def loser(self) -> tuple[str, Evidence] | None:
        """Return who can't win any more, though it has not come to its end, and why; None: nobody.

        Of several it is the one whose reach stays farthest from what it takes; once it is dropped, others follow.
        """
        scored = [name for name in self._looks if np.isfinite(self._score(name))]
        held = (
            (name, self.against(name, rival)) for name, rival in permutations(scored, 2) if self._looks[name].share < 1
        )
        lost = [(name, evidence) for name, evidence in held if evidence.reach < evidence.to_win]
        return min(lost, key=lambda one: one[1].reach - one[1].to_win, default=None)

    def against(self, name: str, rival: str) -> Evidence:
        """Hold a strategy against another."""
        score, best = self._score(name), self._score(rival)
        differences = self._scores[rival][1:] - self._scores[name][1:]
        noise = float(np.nanstd(differences))
        end, spread = self._end(name)
        reach = max(score, float(expit(end + float(norm.ppf(CONFIDENCE)) * spread)))
        more = compared(self._contestants[name].costs, self._contestants[rival].costs)
        look = self._looks[name]
        return Evidence(
            against=rival, metric=self._metric, score=score, leader=best, difference=best - score,
            standard_error=noise, reach=reach, to_win=best + more * noise,
            at_least=best - reach, images=look.images, of_images=look.of_images,
        )  # fmt: skip

    def _score(self, name: str) -> float:
        return float(self._scores[name][0])

    def _end(self, name: str) -> tuple[float, float]:
        """Return the logit of the score that a strategy is expected to end with, and its standard deviation."""
        share, now = self._looks[name].share, self._logit(self._score(name))
        if share >= 1:
            return now, 0.0
        gains = GAINS[self._contestants[name].start]
        gain = gains[max((known for known in gains if known <= share), default=min(gains))]
        before = self._before.get(name)
        rise = 0.0 if before is None else max(0.0, now - self._logit(before))
        return now + gain.mean + gain.per_rise * rise, gain.spread

    def _logit(self, score: float) -> float:
        """Return a score as a logit; none is nearer to 0 or 1 than half an image."""
        least = 0.5 / len(self._targets)
        return float(logit(np.clip(score, least, 1 - least)))
