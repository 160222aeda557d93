"""From predictions of every strategy to the ordered results."""

import math
from collections.abc import Sequence
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
    Spread,
    StrategyResult,
    Versus,
)
from tasks.evaluation import metrics
from tasks.evaluation.calibration import fit_temperature, scaled
from tasks.evaluation.predictions import probabilities_of, targets_of
from tasks.evaluation.robustness import worst_group
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
CHEAPNESS = ("trainable_parameters", "train_seconds")  # of which the first decides


def rank(entrants: Sequence[Entrant], classes: Sequence[str], params: CompareParams) -> list[StrategyResult]:
    """Return the results of all strategies, best on the validation split first."""
    val = Resampled([entrant.tables("val") for entrant in entrants], classes, params)
    test = Resampled([entrant.tables("test") for entrant in entrants], classes, params)
    values = [val.score(i, params.metric) for i in range(len(entrants))]
    costs = [tuple(entrant.run[cost] for cost in CHEAPNESS) for entrant in entrants]
    excluded = [_excluded(entrant, val.scores(i), params) for i, entrant in enumerate(entrants)]
    order = sorted(range(len(entrants)), key=lambda i: (bool(excluded[i]), -values[i], costs[i]))
    best = order[0]
    scratch = next((entrants[i] for i in order if entrants[i].run["params"]["start"] == "random"), None)
    versus = _versus(val, best, params.metric)
    efficient = pareto_front(
        values, *([entrant.run[cost] for entrant in entrants] for cost in (*CHEAPNESS, "peak_memory_mib"))
    )
    return [
        StrategyResult(
            name=entrants[i].name,
            rank=position,
            val=val.scores(i),
            test=(scores := test.scores(i)),
            calibration=_calibration(entrants[i], classes),
            robustness=entrants[i].robustness,
            worst_group=worst_group(scores.groups, params.metric),
            over_seeds=_over_seeds(entrants[i], val.spreads(i), test.spreads(i)),
            by_share=list(entrants[i].shares),
            versus_best=versus[i],
            excluded=excluded[i],
            tied=not excluded[i] and (i == best or -versus[i].difference <= versus[i].standard_error),
            serving=entrants[i].serving,
            efficient=efficient[i],
            history=entrants[i].history,
            **_recorded(entrants[i]),
            **_until_scratch(entrants[i], scratch),
        )
        for position, i in enumerate(order, 1)
    ]


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


def racing(entrants: Sequence[Entrant], params: Params) -> Racing:
    """Return which strategies the race stopped, and what share of the training time that saved, roughly."""
    budget = params.train.budget
    if budget == "none":
        return Racing(raced=False, budget=None, stopped={}, saved=None)
    stopped = {entrant.name: stop for entrant in entrants if (stop := entrant.run["stopped"])}
    spent = {entrant.name: float(entrant.run["train_seconds"]) for entrant in entrants}
    spared = sum(spent[name] * (stop["of_images"] / stop["images"] - 1) for name, stop in stopped.items())
    return Racing(
        raced=True,
        budget=None if budget == "auto" else budget,
        stopped={name: stop["images"] for name, stop in stopped.items()},
        saved=spared / max(spared + sum(spent.values()), 1e-9),
    )


def _excluded(entrant: Entrant, val: Scores, params: CompareParams) -> list[str]:
    """Return the limits that a strategy breaks, all measured on validation images."""
    drop = entrant.robustness.relative_drop if entrant.robustness else None
    group = worst_group(val.groups, params.metric)
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
    probabilities = scaled(probabilities_of(entrant.test, classes), temperature)
    after = metrics.scores(targets_of(entrant.test, classes), probabilities)
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
        **{name: run[name] for name in RECORDED},
    }


def _until_scratch(entrant: Entrant, scratch: Entrant | None) -> dict[str, Any]:
    """Return how soon a strategy was as good as training from scratch ever became, as fields of a result."""
    epochs = epochs_to_reach(entrant.history, scratch.history) if scratch else None
    seconds = seconds_of(epochs, entrant.run["epochs"], entrant.run["train_seconds"])
    return {"epochs_to_scratch": epochs, "seconds_to_scratch": seconds}
