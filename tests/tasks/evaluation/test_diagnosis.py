"""Runs that really failed are diagnosed, and healthy ones are left alone."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as testing
from hypothesis import strategies as st

from tasks.arrays import Floats
from tasks.evaluation import suggestions
from tasks.evaluation.curves import Run
from tasks.evaluation.diagnosis import Diagnosis, configuration, diagnose
from tasks.params import load_params
from tests.support.paths import ROOT
from tests.tasks.evaluation.fitting import Fit, Fitted, Splits, few, mislabelled
from tests.tasks.networks import strategy


@pytest.fixture(scope="module")
def pretrained(fit: Fit, kinds: Splits) -> Fitted:
    """A network that tells the kinds apart."""
    return fit("pretraining", kinds, train="all", lr=0.003, epochs=10)


def tags(run: Run) -> list[str]:
    """Return what is found."""
    return [diagnosis.tag for diagnosis in diagnose(run)]


def again(fit: Fit, run: Run, diagnosis: Diagnosis, splits: Splits, **more: Any) -> Run:
    """Return the run of the configuration that a diagnosis suggests."""
    assert diagnosis.suggestion is not None
    return fit("again", splits, settings=suggestions.merged(run.settings, diagnosis.suggestion), **more).run


def best(run: Run) -> float:
    """Return the validation loss of the kept epoch."""
    return min(row["val_loss"] for row in run.history)


HEALTHY: dict[str, dict[str, Any]] = {
    "gentle": {"train": "all", "lr": 0.001, "epochs": 8},
    "sgd": {"train": "all", "optimizer": "sgd", "lr": 0.01, "epochs": 8, "seed": 1},
    "smoothed": {"train": "all", "lr": 0.003, "epochs": 8, "label_smoothing": 0.2},
    "focal": {"train": "all", "lr": 0.003, "epochs": 8, "focal_gamma": 2.0},
    "scratch": {"train": "all", "lr": 0.003, "epochs": 8, "start": "random"},
}
FROM_PRETRAINED: dict[str, dict[str, Any]] = {
    "probe": {"train": "head", "solver": "lbfgs"},
    "last stage": {"train": ["stages[-1]", "head"], "lr": 0.0003, "epochs": 3, "batchnorm": "frozen"},
    "lp_ft": {"phases": [{"train": "head", "solver": "lbfgs"}, {"train": "all", "lr": 0.0001, "epochs": 4}]},
    "gradual": {"train": "all", "gradual": 1, "lr": 0.001, "epochs": 6},
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_trainings_have_no_findings(fit: Fit, kinds: Splits, name: str) -> None:
    """Whatever the optimizer and the loss, a training that ends well is left alone."""
    assert diagnose(fit(name, kinds, **HEALTHY[name]).run) == []


@pytest.mark.parametrize("name", FROM_PRETRAINED)
def test_healthy_fine_tunings_have_no_findings(fit: Fit, kinds: Splits, pretrained: Fitted, name: str) -> None:
    """A few epochs, or none at all, are enough where the weights know their images."""
    assert diagnose(fit(name, kinds, pretrained.state, **FROM_PRETRAINED[name]).run) == []


def test_a_loss_that_is_not_finite(fit: Fit, kinds: Splits) -> None:
    """A run that the loop gave up is diagnosed from its rows alone; a tenth of the rate is suggested."""
    run = fit("far", kinds, train="all", optimizer="sgd", lr=100.0, batchnorm="frozen", epochs=3).run
    assert run.probabilities is None
    (diagnosis,) = diagnose(run)
    assert (diagnosis.tag, diagnosis.epoch) == ("diverged", len(run.history) - 1)
    assert diagnosis.suggestion == {"lr": pytest.approx(10.0)}


def test_a_rate_that_is_too_high(fit: Fit, kinds: Splits, pretrained: Fitted) -> None:
    """It spoils the weights; a tenth of it does less harm."""
    splits = Splits(few(kinds.train, 40), kinds.val)
    run = fit("high", splits, pretrained.state, train="all", lr=0.1, batchnorm="frozen", epochs=4).run
    diagnosis = diagnose(run)[0]
    assert (diagnosis.tag, diagnosis.suggestion) == ("rate_too_high", {"lr": pytest.approx(0.01)})
    assert best(again(fit, run, diagnosis, splits, state=pretrained.state)) < best(run)


def test_a_rate_that_is_too_low(fit: Fit, kinds: Splits) -> None:
    """The loss creeps; ten times the rate gets further."""
    run = fit("low", kinds, train="head", lr=0.0001, epochs=8).run
    diagnoses = diagnose(run)
    assert diagnoses[0].tag == "rate_too_low"
    faster = again(fit, run, diagnoses[0], kinds)
    assert faster.history[-1]["train_loss"] < run.history[-1]["train_loss"]
    assert faster.history[-1]["learning_rate"] == pytest.approx(10 * run.history[-1]["learning_rate"])


def test_a_training_that_ends_too_soon(fit: Fit, kinds: Splits) -> None:
    """Both losses were falling; with more epochs the validation loss is lower."""
    run = fit("short", kinds, train="all", lr=0.0003, epochs=3).run
    (diagnosis,) = diagnose(run)
    assert (diagnosis.tag, diagnosis.epoch, diagnosis.suggestion) == ("not_converging", 2, {"epochs": 6})
    assert best(again(fit, run, diagnosis, kinds)) < best(run)


def test_a_training_that_never_gets_below_guessing(fit: Fit, kinds: Splits) -> None:
    """Neither too high nor too low can be told, so that the rate is to be found."""
    run = fit("random labels", mislabelled(kinds, 0.5), train="all", lr=0.01, epochs=4).run
    assert diagnose(run)[0].tag == "not_converging"
    assert diagnose(run)[0].suggestion == {"lr": "find"}
    with_range_test = replace(run, settings=suggestions.merged(run.settings, {"lr": "find"}))
    assert diagnose(with_range_test)[0].suggestion is None, "it was with_range_test already"


def test_images_learned_by_heart(fit: Fit, kinds: Splits) -> None:
    """With few images the validation loss rises while the training loss falls; the diagnosis says from when on."""
    splits = Splits(few(kinds.train, 12), kinds.val)
    run = fit("few", splits, train="all", lr=0.001, epochs=20).run
    diagnosis = diagnose(run)[0]
    assert diagnosis.tag == "overfitting"
    assert diagnosis.epoch is not None
    kept = min(run.history, key=lambda row: row["val_loss"])
    assert all(
        row["val_loss"] > kept["val_loss"] and row["train_loss"] < kept["train_loss"]
        for row in run.history[diagnosis.epoch :]
    )
    stronger = again(fit, run, diagnosis, splits)
    assert stronger.history[-1]["val_loss"] < run.history[-1]["val_loss"]


def test_noise_learned_by_heart(fit: Fit, kinds: Splits) -> None:
    """Where labels mean nothing, what is learned of them holds for no other image."""
    splits = mislabelled(kinds, 0.5)
    run = fit("noise", Splits(few(splits.train, 12), splits.val), train="all", lr=0.01, epochs=20).run
    assert "overfitting" in tags(run)


def test_answers_that_are_all_alike(fit: Fit, kinds: Splits) -> None:
    """Statistics that lag behind the weights make a network that has learned blind in evaluation."""
    run = fit("blind", kinds, network="sluggish", train="all", lr=0.001, epochs=3).run
    assert min(row["train_loss"] for row in run.history) < 0.4
    (diagnosis,) = diagnose(run)
    assert (diagnosis.tag, diagnosis.suggestion) == ("collapsed", {"batchnorm": "frozen"})


def test_answers_that_are_all_the_frequent_class(fit: Fit, kinds: Splits) -> None:
    """Where nothing is learned but how frequent the classes are, the rare one is suggested to count more."""
    unbalanced = Splits(*(few(split, 120, rare=30) for split in kinds))
    run = fit("rare", unbalanced, train="head", lr=0.03, epochs=2).run
    (diagnosis,) = diagnose(run)
    assert (diagnosis.tag, diagnosis.suggestion) == ("collapsed", {"class_weights": True})
    balanced = again(fit, run, diagnosis, unbalanced)
    assert balanced.answers[:, 1].mean() > 1.5 * run.answers[:, 1].mean()


# Planted curves: what noise alone must not do, and what any failure of its kind must.

Losses = Sequence[float] | Floats
KEYS = ("epoch", "train_loss", "val_loss", "learning_rate")


def planted(train: Losses, val: Losses, images: int = 400, rng: int = 0, rare: float = 0.5, **settings: Any) -> Run:
    """Return a run of two classes with given losses; the answers have the lowest validation loss."""
    targets = np.diff(np.floor(np.arange(images + 1) * rare)).astype(np.int64)
    losses = np.random.default_rng(rng).exponential(size=images)
    right = np.exp(-losses * min(val) / losses.mean())
    probabilities = np.stack([np.where(targets == c, right, 1 - right) for c in (0, 1)], axis=1)
    chosen = strategy(**{"train": "all", "epochs": len(val)} | settings)
    rows = [dict(zip(KEYS, (i, t, v, 0.001), strict=True)) for i, (t, v) in enumerate(zip(train, val, strict=True))]
    return Run(
        "planted",
        chosen,
        rows,
        [len(val)],
        {"head": 0},
        np.array([1000 - 1000 * rare, 1000 * rare]),
        targets,
        probabilities,
    )


# Epochs of shipped strategies on the solar cells at 224 pixels: training loss, validation loss.
RECORDED: dict[str, tuple[list[float], list[float]]] = {
    "head_only": ([0.228], [0.366]),
    "freeze_first": ([0.545, 0.455, 0.402, 0.355, 0.297], [0.435, 0.361, 0.401, 0.361, 0.368]),
    "last_stage": (
        [0.542, 0.486, 0.429, 0.364, 0.363, 0.322, 0.291, 0.257, 0.234, 0.219],
        [0.433, 0.464, 0.378, 0.428, 0.363, 0.381, 0.344, 0.398, 0.367, 0.375],
    ),
    "new_layers": (
        [0.534, 0.451, 0.455, 0.425, 0.420, 0.420, 0.384, 0.377, 0.383, 0.367, 0.364, 0.362],
        [0.451, 0.441, 0.423, 0.409, 0.533, 0.448, 0.388, 0.388, 0.402, 0.411, 0.407, 0.401],
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_shipped_strategies_have_no_findings(name: str) -> None:
    """Their curves are those of a healthy training, with all that real ones jump about."""
    train, val = RECORDED[name]
    assert diagnose(planted(train, val, images=413, rare=0.27, patience=5)) == []


@st.composite
def healthy_curves(draw: st.DrawFn) -> Run:
    """Return a run that converges, validation a little above training, both with the noise of their images."""
    epochs, images = draw(st.integers(4, 40)), draw(st.integers(60, 2000))
    chance, rng = math.log(2), np.random.default_rng(draw(st.integers(0, 10**6)))
    floor = draw(st.floats(0.1, 0.8)) * chance
    train_floor = max(0.01, chance - (chance - floor) / draw(st.floats(0.5, 1)))
    decay = np.exp(-np.linspace(0, draw(st.floats(6, 20)), epochs))
    noise = [rng.normal(scale=draw(st.floats(0, 0.5)), size=epochs) / math.sqrt(n) for n in (1000, images)]
    train = (train_floor + (chance - train_floor) * decay) * (1 + noise[0])
    val = (floor + (chance - floor) * decay) * (1 + noise[1])
    return planted(train, val, images, draw(st.integers(0, 10**6)))


@testing(max_examples=150, deadline=None)
@given(run=healthy_curves())
def test_noise_alone_is_never_a_finding(run: Run) -> None:
    """Few or many epochs and images, a low or a high loss: what converged has nothing."""
    assert diagnose(run) == []


@testing(max_examples=50, deadline=None)
@given(
    epochs=st.integers(6, 30),
    rise=st.floats(1, 3),
    images=st.integers(200, 2000),
    scale=st.floats(0.2, 0.6),
)
def test_a_clear_rise_is_overfitting(epochs: int, rise: float, images: int, scale: float) -> None:
    """However many images and epochs; the diagnosis shows after the lowest validation loss."""
    lowest = epochs // 3
    past = np.maximum(np.arange(epochs) - lowest, 0) / (epochs - 1 - lowest)
    before = np.maximum(lowest - np.arange(epochs), 0) / epochs
    run = planted(0.65 * np.exp(-np.arange(epochs) / 2), scale * (1 + 0.1 * before + rise * past), images)
    (diagnosis,) = diagnose(run)
    assert diagnosis.tag == "overfitting"
    assert lowest < (diagnosis.epoch or 0) < epochs


def test_a_gap_without_a_rise_is_overfitting_too() -> None:
    """If little of what was learned holds on validation; not where half of it does, or where it still gets better."""
    train = 0.1 + 0.6 * np.exp(-np.arange(12) / 2)
    flat, half = np.full(12, 0.66), 0.4 + 0.29 * np.exp(-np.arange(12) / 2)
    (diagnosis,) = diagnose(planted(train, flat))
    assert diagnosis.tag == "overfitting"
    assert train[diagnosis.epoch or 0] < flat[0]
    assert tags(planted(train, half)) == []
    assert tags(planted(train, np.linspace(0.69, 0.6, 12))) == []
    assert tags(planted(train, flat, focal_gamma=2.0)) == [], "the two losses can't be compared"


@pytest.mark.parametrize("losses", [(0.7, 6.0, 9.0), (0.7, math.inf, 0.7), (0.7, 0.7, math.nan)])
def test_losses_that_ran_away(losses: Sequence[float]) -> None:
    """Finite ones may be as bad as those that are not, and as bad at the end as in between."""
    (diagnosis,) = diagnose(planted(losses, (0.7, 0.69, 0.7)))
    assert diagnosis.tag == "diverged"
    assert not losses[diagnosis.epoch or 0] < 5


def test_losses_that_jump_about() -> None:
    """Above what noise explains, again and again, they tell of a rate that is too high; small ones near zero do not."""
    train, val = np.array([0.68, 0.5, 0.62, 0.45, 0.58, 0.5]), np.array([0.69, 0.5, 0.9, 0.48, 0.95, 0.5])
    assert tags(planted(train, val)) == ["rate_too_high"]
    assert tags(planted(train / 10, val / 10)) == []
    assert tags(planted(train, val, start_size=64)) == [], "images that grow make losses rise at any rate"


def test_what_was_learned_and_lost_again() -> None:
    """From clearly below guessing to clearly above it, once is enough; not where images grow."""
    train, val = (0.55, 0.8, 0.6, 0.5, 0.45), (0.6, 1.1, 0.6, 0.55, 0.5)
    (diagnosis,) = diagnose(planted(train, val))
    assert (diagnosis.tag, diagnosis.epoch) == ("rate_too_high", 1)
    assert tags(planted((0.55, 0.69, 0.6, 0.5, 0.45), val)) == []
    assert tags(planted(train, val, start_size=64)) == []


def test_what_is_unknown_is_no_finding() -> None:
    """The training loss of a network with auxiliary classifiers has terms that nobody knows here."""
    run = planted((1.2, 1.1, 1.05, 1.0), (0.6, 0.5, 0.45, 0.44))
    assert tags(run) != []
    assert tags(replace(run, thaws_at={"aux": 0, "head": 0})) == []


def test_a_suggestion_is_a_strategy_of_a_new_name(tmp_path: Path) -> None:
    """What is pasted below the shipped strategies is read with them."""
    shipped = load_params(ROOT / "params.yaml")
    run = replace(
        planted((0.7, 6.0, 9.0, 9.0, 9.0), (0.7,) * 5), name="full" + "x" * 60, settings=shipped.strategy("full")
    )
    (diagnosis,) = diagnose(run)
    text = (ROOT / "params.yaml").read_text() + configuration(run, diagnosis, shipped.train).partition("\n")[2]
    (tmp_path / "params.yaml").write_text(text)
    pasted = load_params(tmp_path / "params.yaml")
    (new,) = set(pasted.strategies) - set(shipped.strategies)
    assert new.startswith("full")
    assert pasted.strategy(new).lr == pytest.approx(float(str(shipped.strategy("full").lr)) / 10)
    with pytest.raises(ValueError, match="domain_too_far"):
        configuration(run, Diagnosis("domain_too_far", ""), shipped.train)
