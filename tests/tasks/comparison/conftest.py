"""Planted strategies, and comparisons of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.comparison import verdict
from tasks.comparison.entrants import Entrant
from tasks.comparison.kinds import Kind
from tasks.comparison.ranking import Measured, advised, rank
from tasks.comparison.recommendation import Advice, Recommendation
from tasks.comparison.schema import (
    Chance,
    Comparison,
    DataFacts,
    MadeWith,
    Racing,
    Serving,
    StrategyResult,
    Versus,
)
from tasks.evaluation import predictions
from tasks.evaluation.corruptions import KINDS, SEVERITIES
from tasks.evaluation.robustness import Robustness
from tasks.params import CompareParams

PARAMS = CompareParams(metric="auroc", resamples=300)
TOTAL = 1000
MADE_WITH = MadeWith(
    commit="1234abcd", code_sha256="c0de", params_digest="9a4a", params="data: {path: <photos>}", python="3.11.7",
    machine="Linux x86_64", packages={"torch": "2.14.1", "numpy": "2.4.6"},
)  # fmt: skip
LEARNED = Chance(high=0.6, p_value=0.001)
MakeEntrant = Callable[..., Entrant]


def rows_of(paths: Sequence[str], labels: Sequence[str], split: str) -> pd.DataFrame:
    """Return rows of a manifest."""
    groups = ["mono" if i % 3 else "poly" for i in range(len(paths))]
    return pd.DataFrame({"path": paths, "label": labels, "subset": groups, "split": split}).astype("str")


def answers(labels: Sequence[str], classes: Sequence[str], skill: float, seed: Sequence[int]) -> np.ndarray:
    """Return probabilities that know the more of the labels the larger the skill is."""
    rng = np.random.default_rng(seed)
    truth = np.eye(len(classes))[[classes.index(label) for label in labels]]
    odds = np.exp(skill * truth + 2 * rng.normal(size=truth.shape))
    probabilities: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
    return probabilities


@pytest.fixture(scope="session")
def entrant(cells: Path) -> MakeEntrant:
    """Make a strategy that ran on real images."""
    folders = ["intact", "broken"]
    paths = [path.relative_to(cells).as_posix() for name in folders for path in sorted((cells / name).iterdir())]

    def make(
        name: str,
        skill: float = 1.0,
        trainable: int = 100,
        seconds: float = 10.0,
        start: str = "pretrained",
        seed: int = 0,
        classes: Sequence[str] = folders,
    ) -> Entrant:
        labels = [classes[folders.index(path.split("/")[0])] for path in paths]
        halves = {"val": slice(0, None, 2), "test": slice(1, None, 2)}
        tables = {
            split: predictions.table(
                name,
                rows_of(paths[half], labels[half], split),
                answers(labels[half], list(classes), skill, [seed, i]),
                list(classes),
            )
            for i, (split, half) in enumerate(halves.items())
        }
        history = [
            {
                "epoch": float(e),
                "train_loss": 1 / (e + 1),
                "val_loss": 1.1 / (e + 1),
                "val_accuracy": 0.5,
                "learning_rate": 0.1,
            }
            for e in range(3)
        ]
        run: dict[str, Any] = {
            "params": {"start": start, "lr": 0.1, "seed": seed},
            "train_seconds": seconds,
            "peak_memory_mib": 321.0,
            "trainable_parameters": trainable,
            "parameters": TOTAL,
            "parts": [
                {"name": "stem", "parameters": TOTAL - 150, "thaws_at": None, "rates": [None, None]},
                {"name": "stage1", "parameters": 50, "thaws_at": 2, "rates": [None, 0.001]},
                {"name": "head", "parameters": 100, "thaws_at": 0, "rates": [0.01, 0.001]},
            ],
            "phases": [2, 1],
            "chosen": {},
            "epochs": 3,
            "best_epoch": 2,
            "mlflow_run_id": f"run-of-{name}",
            "images": 40,
            "stopped": None,
        }
        return Entrant(name, run, history, tables["val"], tables["test"])

    return make


def stopped(entrant: Entrant, images: int = 30, *, against: str = "head_only", at_least: float = 0.17) -> Entrant:
    """Return a strategy that the race stopped within its first epoch, as it could not win any more."""
    evidence = {
        "reason": "it can't catch up any more", "images": images, "of_images": 120, "metric": "auroc", "score": 0.61,
        "against": against, "leader": 0.89, "difference": 0.28, "standard_error": 0.03, "reach": 0.89 - at_least,
        "to_win": 0.92, "at_least": at_least,
    }  # fmt: skip
    run = {**entrant.run, "stopped": evidence, "epochs": 1, "best_epoch": 0}
    return replace(entrant, run=run, history=entrant.history[:1], test=None)


def measured(name: str, drop: float = 0.1875) -> Measured:
    """Return what is measured of a strategy that can win."""
    corrupted = {kind: [0.8 - 0.05 * severity for severity in SEVERITIES] for kind in KINDS}
    robust = Robustness(images=8, clean=0.8, scores=corrupted, mean=0.8 * (1 - drop), relative_drop=drop)
    return Measured(Serving(model_bytes=4000 * TOTAL, milliseconds=2.5, images_a_second=640.0), robust)


def ranked_of(entrants: Sequence[Entrant], classes: Sequence[str] = ("intact", "broken")) -> list[StrategyResult]:
    """Return results in their order."""
    return rank(entrants, list(classes), PARAMS, measured)


def versus(result: StrategyResult) -> Versus:
    """Return how a strategy that did not lose the race compares with the best."""
    assert result.versus_best is not None
    return result.versus_best


def with_undefined_auroc(result: StrategyResult) -> StrategyResult:
    """Return a result whose AUROC is undefined on the test split."""
    undefined = {"auroc": None, "intervals": result.tested.intervals | {"auroc": None}}
    return result.model_copy(update={"test": result.tested.model_copy(update=undefined)})


def recommended(names: Sequence[str]) -> Recommendation:
    """Return a recommendation in this order."""
    order = tuple(
        Advice(name=name, kind=Kind.FULL, expected_rank=place, worth_running=place < 3, reason=f"reason <{place}>")
        for place, name in enumerate(names, 1)
    )
    return Recommendation(order=order, warnings=("Beware of <few> images.",))


def racing_of(ranked: Sequence[StrategyResult]) -> Racing:
    """Return what the race did."""
    stops = {result.name: result.stopped for result in ranked if result.stopped}
    return Racing(raced=True, budget=None, stopped=stops, saved=0.25)


def comparison_of(
    ranked: list[StrategyResult], classes: Sequence[str] = ("intact", "broken"), chance: Chance = LEARNED
) -> Comparison:
    """Return a whole comparison of results."""
    winner = verdict.champion(ranked, chance, PARAMS.confidence)
    return Comparison(
        champion=winner.name if winner else None,
        chance=chance,
        racing=racing_of(ranked),
        advised=advised(recommended([result.name for result in ranked[::-1]]), ranked, PARAMS.metric),
        verdict=verdict.paragraph(ranked, chance, PARAMS.metric, PARAMS.confidence),
        metric=PARAMS.metric,
        confidence=PARAMS.confidence,
        test_read_at="2024-01-02T03:04:05+00:00",
        data=DataFacts(
            source="folder",
            path="photos",
            digest="abc.dir",
            classes=list(classes),
            channels=1,
            size=32,
            images={"train": 40, "val": 40, "test": 40},
            unusable=1,
        ),
        backbone={"name": "mobilenet_v2", "weights": "none", "source": "random", "sha256": "", "licence": "none"},
        made_with=MADE_WITH,
        mlflow_run_id="parent",
        mlflow_experiment_id="1",
        strategies={result.name: result for result in ranked},
    )
