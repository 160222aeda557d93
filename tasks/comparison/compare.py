"""From predictions of every strategy to the ordered results."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.comparison import pareto, statistics
from tasks.comparison.racing import Runner, replay
from tasks.comparison.recommendation import Recommendation, regret
from tasks.comparison.schema import (
    Advised,
    Calibration,
    Chance,
    OnShare,
    OverSeeds,
    Part,
    Racing,
    Robustness,
    Scores,
    Serving,
    Spread,
    StrategyResult,
    Versus,
    WorstGroup,
)
from tasks.comparison.worth import epochs_to_reach, seconds_of
from tasks.evaluation import metrics, robustness
from tasks.evaluation.calibration import fit_temperature, scaled
from tasks.evaluation.metrics import Floats, Integers
from tasks.evaluation.predictions import probabilities_of
from tasks.params import CompareParams, Params

CHEAPNESS = ("trainable_parameters", "train_seconds")  # of which the first decides


@dataclass(frozen=True)
class Entrant:
    """A strategy that ran: its settings, its costs, and its predictions on both held-out splits.

    Attributes:
        run: what the fine-tuning recorded of itself (``run.json``).
        val, test: prediction tables, in the same order of images for every entrant; ``val`` of all folds, if any.
        serving: what an answer costs.
        robustness: its scores on corrupted images, if they were asked for.
        seeds: the same strategy with other seeds, as many for every entrant.
        shares: the same strategy on shares of the training split.
    """

    name: str
    run: Mapping[str, Any]
    history: list[dict[str, float]]
    val: pd.DataFrame
    test: pd.DataFrame
    serving: Serving
    robustness: Robustness | None = None
    seeds: Sequence["Repeated"] = ()
    shares: Sequence[OnShare] = ()

    @property
    def first_val(self) -> pd.DataFrame:
        """The predictions for the validation images that the history was measured on: with folds, of the first."""
        first: pd.DataFrame = self.val[self.val["repeat"] == self.val["repeat"].iloc[0]]
        return first

    def tables(self, split: str) -> list[pd.DataFrame]:
        """Return the predictions of every seed for a split."""
        return [getattr(one, split) for one in (self, *self.seeds)]


@dataclass(frozen=True)
class Repeated:
    """A strategy's run with another seed, as in ``Entrant``."""

    run: Mapping[str, Any]
    val: pd.DataFrame
    test: pd.DataFrame


def rank(entrants: Sequence[Entrant], classes: Sequence[str], params: CompareParams) -> list[StrategyResult]:
    """Return the results of all strategies, best on the validation split first."""
    val = _Resampled([entrant.tables("val") for entrant in entrants], classes, params)
    test = _Resampled([entrant.tables("test") for entrant in entrants], classes, params)
    values = [val.score(i, params.metric) for i in range(len(entrants))]
    costs = [tuple(entrant.run[cost] for cost in CHEAPNESS) for entrant in entrants]
    excluded = [_excluded(entrant, val.scores(i), params) for i, entrant in enumerate(entrants)]
    order = sorted(range(len(entrants)), key=lambda i: (bool(excluded[i]), -values[i], costs[i]))
    best = order[0]
    scratch = next((entrants[i] for i in order if entrants[i].run["params"]["start"] == "random"), None)
    versus = _versus(val, best, params)
    efficient = pareto.front(
        values, *([entrant.run[cost] for entrant in entrants] for cost in (*CHEAPNESS, "peak_memory_mib"))
    )
    results = []
    for position, i in enumerate(order, 1):
        run, scored = entrants[i].run, test.scores(i)
        caught_up = epochs_to_reach(entrants[i].history, scratch.history) if scratch else None
        results.append(
            StrategyResult(
                name=entrants[i].name,
                rank=position,
                params=dict(run["params"]),
                val=val.scores(i),
                test=scored,
                calibration=_calibration(entrants[i], classes),
                robustness=entrants[i].robustness,
                worst_group=_worst_group(scored, params.metric),
                over_seeds=_over_seeds(entrants[i], val.spreads(i), test.spreads(i)),
                by_share=list(entrants[i].shares),
                versus_best=versus[i],
                excluded=excluded[i],
                tied=not excluded[i] and (i == best or -versus[i].difference <= versus[i].standard_error),
                serving=entrants[i].serving,
                efficient=efficient[i],
                train_seconds=run["train_seconds"],
                peak_memory_mib=run["peak_memory_mib"],
                trainable_parameters=run["trainable_parameters"],
                parameters=run["parameters"],
                parts=[Part(**part) for part in run["parts"]],
                phases=run["phases"],
                chosen=run["chosen"],
                epochs=run["epochs"],
                best_epoch=run["best_epoch"],
                epochs_to_scratch=caught_up,
                seconds_to_scratch=seconds_of(caught_up, run["epochs"], run["train_seconds"]),
                history=entrants[i].history,
                mlflow_run_id=run["mlflow_run_id"],
                recorded_run_id=run.get("recorded_run_id", ""),
            )
        )
    return results


def chance(entrants: Sequence[Entrant], classes: Sequence[str], params: CompareParams) -> Chance:
    """Return what the best strategy would score on the validation split if the labels meant nothing."""
    targets = targets_of(entrants[0].val, classes)
    answers = [[probabilities_of(table, classes) for table in entrant.tables("val")] for entrant in entrants]
    best = statistics.best(params.metric, targets, answers)
    permutations = max(params.permutations, math.ceil(1 / (1 - params.confidence)))  # fewer can't reach the confidence
    shuffled = statistics.best_by_chance(params.metric, targets, answers, permutations, params.seed)
    p_value = (int(np.sum(shuffled >= best)) + 1) / (len(shuffled) + 1)
    return Chance(high=float(np.quantile(shuffled, params.confidence)), p_value=p_value)


def advised(recommendation: Recommendation, ranked: Sequence[StrategyResult], metric: str) -> Advised:
    """Return a recommendation with what following it would have cost on the validation split."""
    scores = {result.name: value for result in ranked if (value := result.figure("val", metric)[0]) is not None}
    costs = [regret(recommendation, scores, first) if scores else 0.0 for first in (1, 3)]
    return Advised(recommendation=recommendation, regret=costs[0], regret_of_three=costs[1])


def _excluded(entrant: Entrant, val: Scores, params: CompareParams) -> list[str]:
    """Return the limits that a strategy breaks, all measured on validation images."""
    drop = entrant.robustness.relative_drop if entrant.robustness else None
    group = robustness.worst_group(val.groups, params.metric)
    broken = []
    if params.max_ece is not None and (val.ece or 0.0) > params.max_ece:
        broken.append(f"calibration error {val.ece:.3f}, over compare.max_ece {params.max_ece:g}")
    if params.max_drop is not None and drop is not None and drop > params.max_drop:
        broken.append(f"loses {drop:.1%} on corrupted images, over compare.max_drop {params.max_drop:.1%}")
    if params.min_group is not None and group and group.score < params.min_group:
        broken.append(
            f"{params.metric} {group.score:.3f} on {group.name}, under compare.min_group {params.min_group:g}"
        )
    return broken


def racing(entrants: Sequence[Entrant], ranked: Sequence[StrategyResult], params: Params) -> Racing:
    """Return which strategies the race stopped; where all ran to their end, which it would have, and at what cost."""
    if params.train.budget:
        stopped = {entrant.name: entrant.run["stopped_at"] for entrant in entrants if entrant.run["stopped_at"]}
        return Racing(budget=params.train.budget, stopped=stopped, saved=None, regret=None)
    runners = {
        entrant.name: Runner(sum(entrant.run["phases"]), sum(entrant.run["phases"][:-1]) + 1, entrant.history)
        for entrant in entrants
        if entrant.run["params"].get("soup", 1) == 1 and not entrant.run["params"].get("wise_ft")
    }
    seconds = {entrant.name: float(entrant.run["train_seconds"]) for entrant in entrants}
    found = replay(runners, seconds, len(entrants[0].first_val))
    scores = {result.name: result.figure("val", params.compare.metric)[0] or 0.0 for result in ranked}
    regret = max(scores.values()) - max(score for name, score in scores.items() if name not in found.stopped)
    return Racing(budget=None, stopped=found.stopped, saved=found.saved, regret=regret)


def _over_seeds(entrant: Entrant, val: dict[str, Spread], test: dict[str, Spread]) -> OverSeeds | None:
    if not entrant.seeds:
        return None
    runs = [entrant.run, *(repeated.run for repeated in entrant.seeds)]
    return OverSeeds(
        seeds=[run["params"]["seed"] for run in runs],
        val=val,
        test=test,
        train_seconds=[run["train_seconds"] for run in runs],
        mlflow_run_ids=[run["mlflow_run_id"] for run in runs],
    )


def _calibration(entrant: Entrant, classes: Sequence[str]) -> Calibration:
    temperature = fit_temperature(probabilities_of(entrant.val, classes), targets_of(entrant.val, classes))
    probabilities = scaled(probabilities_of(entrant.test, classes), temperature)
    after = metrics.scores(targets_of(entrant.test, classes), probabilities)
    return Calibration(temperature=temperature, test_ece=after["ece"] or 0.0, test_log_loss=after["log_loss"] or 0.0)


def _worst_group(scores: Scores, metric: str) -> WorstGroup | None:
    found = robustness.worst_group(scores.groups, metric)
    return WorstGroup(**found._asdict()) if found else None


def targets_of(table: pd.DataFrame, classes: Sequence[str]) -> Integers:
    """Return the classes of a table of predictions as integers, shape (images,)."""
    codes = {label: code for code, label in enumerate(classes)}
    return np.asarray(table["label"].map(codes), dtype=np.int64)


def _versus(val: "_Resampled", best: int, params: CompareParams) -> dict[int, Versus]:
    """Hold every strategy against the best one; the p-values are adjusted for the number of strategies."""
    others = [i for i in range(val.entrants) if i != best]
    paired = {i: val.against(i, best, params) for i in (best, *others)}
    adjusted = statistics.holm([paired[i].p_value for i in others])
    errors = statistics.holm([statistics.mcnemar(val.correct(i), val.correct(best)) for i in others])
    found = {
        i: Versus(**asdict(paired[i]), p_adjusted=p, mcnemar=e)
        for i, p, e in zip(others, adjusted, errors, strict=True)
    }
    return {**found, best: Versus(**asdict(paired[best]), p_adjusted=1.0, mcnemar=1.0)}


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if len(defined) == len(values) else None


class _Resampled:
    """One split's predictions of every strategy's seeds, with all metrics on the same resamples."""

    def __init__(self, tables: Sequence[Sequence[pd.DataFrame]], classes: Sequence[str], params: CompareParams) -> None:
        self._classes, self._confidence = list(classes), params.confidence
        first = tables[0][0]
        self._groups = first["subset"].tolist()
        self._targets = targets_of(first, classes)
        answers = [[probabilities_of(table, classes) for table in of_seeds] for of_seeds in tables]
        self._probabilities = [of_seeds[0] for of_seeds in answers]
        resamples = max(
            params.resamples, math.ceil(2 * len(tables) / (1 - params.confidence))
        )  # so that Holm's can, too
        counts = statistics.draw(len(self._targets), resamples, params.seed)
        by_seed = [
            [{name: metric(counts, self._targets, p) for name, metric in statistics.METRICS.items()} for p in of_seeds]
            for of_seeds in answers
        ]
        self._first = [resampled[0] for resampled in by_seed]
        self._resampled: list[dict[str, Floats]] = [
            {name: statistics.over_seeds([one[name] for one in resampled], params.seed) for name in statistics.METRICS}
            for resampled in by_seed
        ]
        self._scores = [[metrics.scores(self._targets, p) for p in of_seeds] for of_seeds in answers]

    @property
    def entrants(self) -> int:
        return len(self._probabilities)

    def correct(self, i: int) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = self._probabilities[i].argmax(axis=1) == self._targets
        return found

    def score(self, i: int, metric: str) -> float:
        value = _mean([scores[metric] for scores in self._scores[i]])
        return -1.0 if value is None else value

    def spreads(self, i: int) -> dict[str, Spread]:
        found = {}
        for name, resampled in self._resampled[i].items():
            values = [scores[name] for scores in self._scores[i]]
            mean = _mean(values)
            std = None if mean is None or len(values) < 2 else float(np.std(np.asarray(values, dtype=float), ddof=1))
            interval = statistics.interval(np.clip(resampled, 0, 1), self._confidence)  # widened, it may leave them
            found[name] = Spread(values=values, mean=mean, std=std, interval=interval)
        return found

    def scores(self, i: int) -> Scores:
        """Return the first seed's scores."""
        intervals = {name: statistics.interval(values, self._confidence) for name, values in self._first[i].items()}
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
