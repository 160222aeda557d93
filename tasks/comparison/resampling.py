"""One split's predictions of all strategies, with every metric on the same resamples of the images."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tasks.arrays import Flags, Floats
from tasks.comparison import statistics
from tasks.comparison.schema import Scores, Spread
from tasks.evaluation import metrics
from tasks.evaluation.predictions import probabilities_of, targets_of
from tasks.params import CompareParams


class Resampled:
    """One split's predictions of every strategy's seeds. Strategies are known by their places among the tables.

    Args:
        tables: of predictions, for every strategy those of its seeds.
        classes: in the order of the answers.
        params: confidence, resamples and seed of the comparison.
    """

    def __init__(self, tables: Sequence[Sequence[pd.DataFrame]], classes: Sequence[str], params: CompareParams) -> None:
        self._classes, self._confidence = list(classes), params.confidence
        first = tables[0][0]
        self._groups = first["subset"].tolist()
        self._targets = targets_of(first, classes)
        answers = [[probabilities_of(table, classes) for table in of_seeds] for of_seeds in tables]
        self._probabilities = [of_seeds[0] for of_seeds in answers]
        enough_for_holm = math.ceil(2 * len(tables) / (1 - params.confidence))
        counts = statistics.draw(len(self._targets), max(params.resamples, enough_for_holm), params.seed)
        by_seed = [
            [{name: metric(counts, self._targets, p) for name, metric in statistics.METRICS.items()} for p in of_seeds]
            for of_seeds in answers
        ]
        self._first = [resampled[0] for resampled in by_seed]
        self._resampled: list[dict[str, Floats]] = [
            {
                name: statistics.over_seeds([of_seed[name] for of_seed in resampled], params.seed)
                for name in statistics.METRICS
            }
            for resampled in by_seed
        ]
        self._scores = [[metrics.scores(self._targets, p) for p in of_seeds] for of_seeds in answers]

    @property
    def strategies(self) -> int:
        """Number of the strategies."""
        return len(self._probabilities)

    def correct(self, i: int) -> Flags:
        """Return which images the first seed of a strategy answers right, shape (images,)."""
        right: Flags = self._probabilities[i].argmax(axis=1) == self._targets
        return right

    def score(self, i: int, metric: str) -> float:
        """Return the mean of a metric over a strategy's seeds; -1 where it is undefined."""
        value = _mean([scores[metric] for scores in self._scores[i]])
        return -1.0 if value is None else value

    def spreads(self, i: int) -> dict[str, Spread]:
        """Return every metric over a strategy's seeds."""
        spreads = {}
        for name, resampled in self._resampled[i].items():
            values = [scores[name] for scores in self._scores[i]]
            mean = _mean(values)
            std = None if mean is None or len(values) < 2 else float(np.std(np.asarray(values, dtype=float), ddof=1))
            interval = statistics.interval(np.clip(resampled, 0, 1), self._confidence)  # widened, it may leave them
            spreads[name] = Spread(values=values, mean=mean, std=std, interval=interval)
        return spreads

    def scores(self, i: int) -> Scores:
        """Return the scores of a strategy's first seed."""
        intervals = {name: statistics.interval(values, self._confidence) for name, values in self._first[i].items()}
        report = metrics.report(self._targets, self._probabilities[i], self._classes, self._groups)
        return Scores(intervals=intervals, **report)

    def against(self, i: int, best: int, metric: str) -> statistics.Paired:
        """Return a strategy's metric less that of another one."""
        return statistics.paired(
            self.score(i, metric),
            self.score(best, metric),
            self._resampled[i][metric],
            self._resampled[best][metric],
            self._confidence,
        )


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if len(defined) == len(values) else None
