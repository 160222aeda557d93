"""From predictions of every strategy to the ordered results."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from tasks.comparison import statistics
from tasks.comparison.schema import Part, Scores, StrategyResult, Versus
from tasks.evaluation import metrics
from tasks.evaluation.metrics import Floats, Integers
from tasks.evaluation.predictions import probabilities_of
from tasks.params import CompareParams


@dataclass(frozen=True)
class Entrant:
    """A strategy that ran: its settings, its costs, and its predictions on both held-out splits.

    Attributes:
        run: what the fine-tuning recorded of itself (``run.json``).
        val, test: prediction tables, in the same order of images for every entrant.
    """

    name: str
    run: Mapping[str, Any]
    history: list[dict[str, float]]
    val: pd.DataFrame
    test: pd.DataFrame


def rank(entrants: Sequence[Entrant], classes: Sequence[str], params: CompareParams) -> list[StrategyResult]:
    """Return the results of all strategies, best on the validation split first."""
    val = _Resampled([entrant.val for entrant in entrants], classes, params)
    test = _Resampled([entrant.test for entrant in entrants], classes, params)
    values = [val.score(i, params.metric) for i in range(len(entrants))]
    costs = [(entrant.run["trainable_parameters"], entrant.run["train_seconds"]) for entrant in entrants]
    order = sorted(range(len(entrants)), key=lambda i: (-values[i], costs[i]))
    best = order[0]
    results = []
    for position, i in enumerate(order, 1):
        run = entrants[i].run
        versus = val.against(i, best, params)
        results.append(
            StrategyResult(
                name=entrants[i].name,
                rank=position,
                params=dict(run["params"]),
                val=val.scores(i),
                test=test.scores(i),
                versus_best=Versus(**asdict(versus)),
                tied=i == best or -versus.difference <= versus.standard_error,
                train_seconds=run["train_seconds"],
                peak_memory_mib=run["peak_memory_mib"],
                trainable_parameters=run["trainable_parameters"],
                parameters=run["parameters"],
                parts=[Part(**part) for part in run["parts"]],
                phases=run["phases"],
                chosen=run["chosen"],
                epochs=run["epochs"],
                best_epoch=run["best_epoch"],
                history=entrants[i].history,
                mlflow_run_id=run["mlflow_run_id"],
            )
        )
    return results


class _Resampled:
    """One split's predictions of every strategy, with all metrics on the same resamples."""

    def __init__(self, tables: Sequence[pd.DataFrame], classes: Sequence[str], params: CompareParams) -> None:
        self._classes, self._confidence = list(classes), params.confidence
        self._groups = tables[0]["subset"].tolist()
        codes = {label: code for code, label in enumerate(classes)}
        self._targets: Integers = np.asarray(tables[0]["label"].map(codes), dtype=np.int64)
        self._probabilities = [probabilities_of(table, classes) for table in tables]
        counts = statistics.draw(len(self._targets), params.resamples, params.seed)
        self._resampled: list[dict[str, Floats]] = [
            {name: metric(counts, self._targets, p) for name, metric in statistics.METRICS.items()}
            for p in self._probabilities
        ]
        self._scores = [metrics.scores(self._targets, p) for p in self._probabilities]

    def score(self, i: int, metric: str) -> float:
        value = self._scores[i][metric]
        return -1.0 if value is None else value

    def scores(self, i: int) -> Scores:
        intervals = {name: statistics.interval(values, self._confidence) for name, values in self._resampled[i].items()}
        report = metrics.report(self._targets, self._probabilities[i], self._classes, self._groups)
        return Scores(intervals=intervals, **report)

    def against(self, i: int, best: int, params: CompareParams) -> statistics.Paired:
        return statistics.paired(
            self.score(i, params.metric),
            self.score(best, params.metric),
            self._resampled[i][params.metric],
            self._resampled[best][params.metric],
            params.confidence,
        )
