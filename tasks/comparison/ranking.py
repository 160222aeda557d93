"""From predictions of every strategy to the ordered results."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.comparison import statistics
from tasks.comparison.costs import epochs_to_reach, pareto_front, seconds_of
from tasks.comparison.entrants import Entrant
from tasks.comparison.recommendation import Recommendation, regret
from tasks.comparison.resampling import Resampled
from tasks.comparison.schema import (
    Advised,
    Calibration,
    Chance,
    OverSeeds,
    Part,
    Racing,
    Scores,
    Serving,
    Spread,
    StrategyResult,
    Versus,
)
from tasks.comparison.ties import winner_of
from tasks.evaluation import metrics
from tasks.evaluation.calibration import fit_temperature, scaled
from tasks.evaluation.predictions import probabilities_of, targets_of
from tasks.evaluation.robustness import Robustness, worst_group
from tasks.params import CompareParams, Params

RECORDED = (  # what a result takes as the fine-tuning recorded it
    "train_seconds",
    "peak_memory_mib",
    "trainable_parameters",
    "parameters",
    "phases",
    "chosen",
    "epochs",
    "best_epoch",
    "mlflow_run_id",
)
TRAINING = ("trainable_parameters", "train_seconds")  # what tells apart who is the same in everything else
COSTS = ("milliseconds", "trainable_parameters", "train_seconds", "peak_memory_mib")  # of what is efficient


@dataclass(frozen=True)
class Measured:
    """What is measured of a strategy that wins: what an answer costs, and what scores corrupted images leave it.

    Attributes:
        robustness: None: it is not asked for.
    """

    serving: Serving
    robustness: Robustness | None


Measure = Callable[[str], Measured]


@dataclass(frozen=True)
class _Standing:
    """Strategies by their places: in their order, those that tie with the best, what they break, what was measured."""

    order: list[int]
    tied: list[int]
    excluded: list[list[str]]
    measured: dict[int, Measured]


def rank(
    entrants: Sequence[Entrant], classes: Sequence[str], params: CompareParams, measure: Measure | None = None
) -> list[StrategyResult]:
    """Return the results of all strategies, best on the validation split first; those that lost the race are last.

    Args:
        entrants: the strategies; at least one of them did not lose the race.
        classes: in the order of the answers.
        params: how they are compared.
        measure: returns what answers of a strategy cost and stand, by its name. Only who wins is measured.
    """
    field = [entrant for entrant in entrants if entrant.test is not None]
    val = Resampled([entrant.tables("val") for entrant in field], classes, params)
    test = Resampled([entrant.tables("test") for entrant in field], classes, params)
    validated = [val.scores(i) for i in range(len(field))]
    standing = _settle(field, val, [_excluded(scores, params) for scores in validated], params, measure)
    scratch = next((field[i] for i in standing.order if field[i].run["params"]["start"] == "random"), None)
    versus = _versus(val, standing.order[0], params.metric)
    costs = ([entrant.cost(name) for entrant in field] for name in COSTS)
    efficient = pareto_front([val.score(i, params.metric) for i in range(len(field))], *costs)
    tested = [
        StrategyResult(
            name=field[i].name,
            rank=position,
            stopped=field[i].stopped,
            val=validated[i],
            test=(scores := test.scores(i)),
            calibration=_calibration(field[i], classes),
            robustness=standing.measured[i].robustness if i in standing.measured else None,
            worst_group=worst_group(scores.groups, params.metric),
            over_seeds=_over_seeds(field[i], val.spreads(i), test.spreads(i)),
            by_share=list(field[i].shares),
            versus_best=versus[i],
            excluded=standing.excluded[i],
            tied=i in standing.tied,
            serving=standing.measured[i].serving if i in standing.measured else None,
            efficient=efficient[i],
            history=field[i].history,
            **_recorded(field[i]),
            **_until_scratch(field[i], scratch),
        )
        for position, i in enumerate(standing.order, 1)
    ]
    return [*tested, *_losers([entrant for entrant in entrants if entrant.test is None], classes, params, len(tested))]


def _settle(
    field: Sequence[Entrant],
    val: Resampled,
    excluded: list[list[str]],
    params: CompareParams,
    measure: Measure | None,
) -> _Standing:
    """Order strategies by the validation split, and measure who wins, until limits bar no more."""
    values = [val.score(i, params.metric) for i in range(len(field))]
    training = [tuple(entrant.cost(name) for name in TRAINING) for entrant in field]
    measured: dict[int, Measured] = {}
    while True:
        order = sorted(range(len(field)), key=lambda i: (bool(excluded[i]), -values[i], training[i]))
        tied = [i for i in order if not excluded[i] and (i == order[0] or _ties(val, i, order[0], params.metric))]
        winner = winner_of(tied, lambda i: [field[i].cost(name) for name in params.cheaper]) if tied else None
        if measure is None or winner is None or winner in measured:
            return _Standing(order, tied, excluded, measured)
        measured[winner] = measure(field[winner].name)
        excluded[winner] += _too_fragile(measured[winner].robustness, params)


def _ties(val: Resampled, i: int, best: int, metric: str) -> bool:
    versus = val.against(i, best, metric)
    return -versus.difference <= versus.standard_error


def _losers(
    losers: Sequence[Entrant], classes: Sequence[str], params: CompareParams, before: int
) -> list[StrategyResult]:
    """Return the results of strategies that lost the race: what is known of them is where they stopped."""
    scores = {entrant.name: _at_its_stop(entrant, classes) for entrant in losers}
    by_score = sorted(losers, key=lambda entrant: -(getattr(scores[entrant.name], params.metric) or 0.0))
    return [
        StrategyResult(
            name=entrant.name,
            rank=position,
            stopped=entrant.stopped,
            val=scores[entrant.name],
            test=None,
            calibration=None,
            robustness=None,
            worst_group=None,
            over_seeds=None,
            by_share=list(entrant.shares),
            versus_best=None,
            excluded=[],
            tied=False,
            serving=None,
            efficient=False,
            history=entrant.history,
            epochs_to_scratch=None,
            seconds_to_scratch=None,
            **_recorded(entrant),
        )
        for position, entrant in enumerate(by_score, before + 1)
    ]


def _at_its_stop(entrant: Entrant, classes: Sequence[str]) -> Scores:
    """Return the scores of a strategy that was stopped, without intervals: it might have come farther."""
    targets, probabilities = targets_of(entrant.val, classes), probabilities_of(entrant.val, classes)
    report = metrics.report(targets, probabilities, classes, entrant.val["subset"].tolist())
    return Scores(intervals=dict.fromkeys(statistics.METRICS), **report)


def chance(entrants: Sequence[Entrant], classes: Sequence[str], params: CompareParams) -> Chance:
    """Return what the best strategy would score on the validation split if the labels meant nothing."""
    first = next(entrant.val for entrant in entrants if entrant.test is not None)
    targets = targets_of(first, classes)
    tables = [entrant.tables("val") for entrant in entrants if len(entrant.val) == len(first)]  # of all folds, if any
    answers = [[probabilities_of(table, classes) for table in of_seeds] for of_seeds in tables]
    best = statistics.best(params.metric, targets, answers)
    permutations = max(params.permutations, math.ceil(1 / (1 - params.confidence)))  # fewer can't reach the confidence
    shuffled = statistics.best_by_chance(params.metric, targets, answers, permutations, params.seed)
    p_value = (int(np.sum(shuffled >= best)) + 1) / (len(shuffled) + 1)
    return Chance(high=float(np.quantile(shuffled, params.confidence)), p_value=p_value)


def advised(recommendation: Recommendation, ranked: Sequence[StrategyResult], metric: str) -> Advised:
    """Return a recommendation with what following it would have cost on the validation split.

    Strategies that lost the race count with the best that they could have come to.
    """
    reached = {result.name: value for result in ranked if (value := result.figure("val", metric)[0]) is not None}
    best = max((reached[result.name] for result in ranked if result.test and result.name in reached), default=0.0)
    reach = {result.name: result.stopped.reach for result in ranked if result.stopped}
    scores = reached | {name: min(value, best) for name, value in reach.items() if value is not None}
    costs = [regret(recommendation, scores, first) if scores else 0.0 for first in (1, 3)]
    return Advised(recommendation=recommendation, regret=costs[0], regret_of_three=costs[1])


def racing(entrants: Sequence[Entrant], params: Params) -> Racing:
    """Return which strategies the race stopped, and what share of the training time that saved, roughly."""
    budget = params.train.budget
    if budget == "none":
        return Racing(raced=False, budget=None, stopped={}, saved=None)
    stopped = {entrant.name: entrant.stopped for entrant in entrants if entrant.stopped}
    spent = {entrant.name: float(entrant.run["train_seconds"]) for entrant in entrants}
    spared = sum(
        spent[name] * (stop.of_images / stop.images - 1)
        for name, stop in stopped.items()
        if stop.of_images and stop.images
    )
    return Racing(
        raced=True,
        budget=None if budget == "auto" else budget,
        stopped=stopped,
        saved=spared / max(spared + sum(spent.values()), 1e-9),
    )


def _excluded(val: Scores, params: CompareParams) -> list[str]:
    """Return the limits that a strategy's answers to the validation split break."""
    group = worst_group(val.groups, params.metric)
    broken = []
    if params.max_ece is not None and (val.ece or 0.0) > params.max_ece:
        broken.append(f"calibration error {val.ece:.3f}, over compare.max_ece {params.max_ece:g}")
    if params.min_group is not None and group and group.score < params.min_group:
        broken.append(
            f"{params.metric} {group.score:.3f} on {group.name}, under compare.min_group {params.min_group:g}"
        )
    return broken


def _too_fragile(robustness: Robustness | None, params: CompareParams) -> list[str]:
    """Return whether corrupted validation images cost a strategy more than may be, as a limit that it breaks."""
    drop = robustness.relative_drop if robustness else None
    if params.max_drop is None or drop is None or drop <= params.max_drop:
        return []
    return [f"loses {drop:.1%} on corrupted images, over compare.max_drop {params.max_drop:.1%}"]


def _versus(val: Resampled, best: int, metric: str) -> dict[int, Versus]:
    """Hold every strategy against the best one; the p-values are adjusted for the number of strategies."""
    others = [i for i in range(val.strategies) if i != best]
    paired = {i: val.against(i, best, metric).model_dump() for i in (best, *others)}
    adjusted = statistics.holm([paired[i]["p_value"] for i in others])
    errors = statistics.holm([statistics.mcnemar(val.correct(i), val.correct(best)) for i in others])
    versus = {
        i: Versus(**paired[i], p_adjusted=p_adjusted, mcnemar=mcnemar)
        for i, p_adjusted, mcnemar in zip(others, adjusted, errors, strict=True)
    }
    return {**versus, best: Versus(**paired[best], p_adjusted=1.0, mcnemar=1.0)}


def _calibration(entrant: Entrant, classes: Sequence[str]) -> Calibration:
    temperature = fit_temperature(probabilities_of(entrant.val, classes), targets_of(entrant.val, classes))
    test = entrant.tables("test")[0]
    after = metrics.scores(targets_of(test, classes), scaled(probabilities_of(test, classes), temperature))
    return Calibration(temperature=temperature, test_ece=after["ece"] or 0.0, test_log_loss=after["log_loss"] or 0.0)


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


def _recorded(entrant: Entrant) -> dict[str, Any]:
    """Return the fields of a result that the fine-tuning recorded of itself."""
    run = entrant.run
    return {
        "params": dict(run["params"]),
        "parts": [Part(**part) for part in run["parts"]],
        "recorded_run_id": run.get("recorded_run_id", ""),
        "network": entrant.network,
        "milliseconds": entrant.milliseconds or None,
        **{name: run[name] for name in RECORDED},
    }


def _until_scratch(entrant: Entrant, scratch: Entrant | None) -> dict[str, Any]:
    """Return how soon a strategy was as good as training from scratch ever became, as fields of a result."""
    epochs = epochs_to_reach(entrant.history, scratch.history) if scratch else None
    seconds = seconds_of(epochs, entrant.run["epochs"], entrant.run["train_seconds"])
    return {"epochs_to_scratch": epochs, "seconds_to_scratch": seconds}
