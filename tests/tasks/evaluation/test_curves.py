"""What a run's curves are held against: guessing, noise, and the schedule that they belong to."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tasks.evaluation import curves
from tasks.evaluation.curves import Run
from tasks.training.batches import Split
from tasks.training.gradients import TrainingLoss, validation_loss
from tests.tasks.networks import strategy

COUNTS = np.array([60, 25, 15])
CORRECTIONS: list[dict[str, Any]] = [{}, {"class_weights": True}, {"sampling": "balanced"}, {"logit_adjustment": 1.0}]


def run_of(val: list[float], lengths: list[int] | None = None, **settings: Any) -> Run:
    """Return a run of three classes with given validation losses."""
    targets = np.repeat([0, 1, 2], [12, 5, 3])
    rows = [{"epoch": i, "train_loss": 0.5, "val_loss": loss, "learning_rate": 0.1} for i, loss in enumerate(val)]
    chosen = strategy(**({"train": "all", "epochs": len(val), "patience": 999} | settings))
    answers = np.random.default_rng(0).dirichlet([1, 1, 1], len(targets))
    return Run("planted", chosen, rows, lengths or [len(val)], {"stem": None, "head": 0}, COUNTS, targets, answers)


def minimised(loss: Callable[[], torch.Tensor], weights: torch.Tensor) -> float:
    """Return the least value of a loss."""
    optimizer = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return loss().item()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("correction", CORRECTIONS, ids=str)
def test_guessing_costs_what_the_best_constant_answer_does(correction: dict[str, Any], smoothing: float) -> None:
    """In the loss that is trained with; and nothing costs less than the answer that knows the labels."""
    run = run_of([0.7], label_smoothing=smoothing, **correction)
    seen = curves.read(run)
    counts = torch.from_numpy(COUNTS)
    targets = torch.arange(3).repeat_interleave(counts)
    split = Split(np.zeros((100, 1, 1, 1), dtype=np.uint8), np.arange(100), targets)
    drawn = torch.arange(3) if run.settings.sampling == "balanced" else targets
    loss = TrainingLoss(run.settings, split, 3, torch.device("cpu"))
    constant, knowing = torch.zeros(3, requires_grad=True), torch.zeros(3, 3, requires_grad=True)
    best = minimised(lambda: loss(constant.expand(len(drawn), 3), drawn) / loss.total_weight(drawn), constant)
    least = minimised(lambda: loss(knowing[drawn], drawn) / loss.total_weight(drawn), knowing)
    assert seen.train_chance == pytest.approx(best, abs=1e-4)
    assert seen.train_least == pytest.approx(least, abs=1e-3)
    assert seen.untrained >= math.log(3) > seen.train_least


@pytest.mark.parametrize("correction", CORRECTIONS, ids=str)
def test_guessing_on_validation_is_held_against_its_own_loss(correction: dict[str, Any]) -> None:
    """Over the images, or over the classes alike."""
    run = run_of([0.7], **correction)
    alike = run.settings.treats_classes_alike
    guess = torch.full((3,), 1 / 3) if alike else torch.from_numpy(COUNTS / COUNTS.sum())
    logits = guess.log().float().expand(len(run.targets), 3)
    expected = validation_loss(logits, torch.from_numpy(run.targets), run.settings)
    assert curves.read(run).val_chance == pytest.approx(expected, rel=1e-5)


def test_noise_is_the_standard_error_of_the_mean() -> None:
    """At the kept epoch it is that of the images' own losses; a larger loss is noisier."""
    run = run_of([0.9, 0.8])
    losses = -np.log(run.answers[np.arange(len(run.targets)), run.targets])
    seen = curves.read(run)
    assert seen.val_noise(float(losses.mean())) == pytest.approx(losses.std() / math.sqrt(len(losses)))
    assert seen.val_noise(2.0) == pytest.approx(2 * seen.val_noise(1.0))
    assert seen.train_noise(1.0) == pytest.approx(seen.val_noise(1.0) * math.sqrt(len(losses) / COUNTS.sum()))


def test_a_rare_class_makes_a_mean_over_classes_noisy() -> None:
    """A few images have the weight of many."""
    plain, alike = (curves.read(run_of([0.9], class_weights=on)) for on in (False, True))
    assert plain.val_images == pytest.approx(20)
    assert alike.val_images < 15


def test_answers_that_are_all_alike_are_not_free_of_noise() -> None:
    """What their losses lack in spread they get back once something is learned."""
    run = run_of([1.0, 1.1])
    even = replace(run, probabilities=np.full((len(run.targets), 3), 1 / 3))
    assert curves.read(even).val_noise(1.0) > 0.05


def test_jitter_is_what_curves_do_besides_their_trend() -> None:
    """Independent jumps are measured, a straight line has none."""
    straight = curves.read(run_of(np.linspace(1, 0.3, 12).tolist()))
    assert straight.val_jitter == pytest.approx(0, abs=1e-9)
    jumps = np.random.default_rng(0).normal(scale=0.1, size=400)
    assert curves.read(run_of((2 + jumps).tolist())).val_jitter == pytest.approx(0.1, rel=0.2)
    assert curves.read(run_of([1.0, 0.5])).val_jitter == 0


def test_curves_are_those_of_the_last_schedule() -> None:
    """A phase that continues one belongs to it; the kept epoch is one of the last phase."""
    phases = [
        {"train": "head", "epochs": 2},
        {"train": "stages", "epochs": 3},
        {"train": "all", "epochs": 2, "continues": True},
    ]
    run = run_of([0.1, 0.9, 0.8, 0.2, 0.7, 0.6, 0.5], [2, 3, 2], train=None, phases=phases, warmup=0.4)
    seen = curves.read(run)
    assert seen.first == 2
    assert seen.val.tolist() == [0.8, 0.2, 0.7, 0.6, 0.5]
    assert (seen.kept, seen.warm, seen.complete) == (4, 2, True)
    assert not curves.read(replace(run, history=run.history[:6])).complete


def test_of_a_soup_the_first_fine_tuning_is_read() -> None:
    """Where patience ended it early, too."""
    whole = run_of([0.9, 0.8, 0.7, 0.9, 0.6, 0.5], [3], soup=2, epochs=3)
    assert curves.read(whole).val.tolist() == [0.9, 0.8, 0.7]
    early = run_of([0.9, 0.4, 0.7, 0.8, 0.9, 0.3], [6], soup=2, epochs=6, patience=2)
    seen = curves.read(early)
    assert seen.val.tolist() == [0.9, 0.4, 0.7, 0.8]
    assert not seen.complete


def test_what_trains_is_told_by_the_parts() -> None:
    """A probe trains the head alone; a part that is split by kind is frozen if nothing of it trains."""
    run = run_of([0.7])
    assert run.is_probe
    assert not run.trains_pretrained
    assert run.topmost_frozen == "stem"
    split = replace(run, thaws_at={"stem": None, "stage1": None, "stage1.norms": 0, "aux": None, "head": 0})
    assert split.trains_pretrained
    assert not split.is_probe
    assert split.topmost_frozen == "stem"
    assert replace(run, thaws_at={"stem": 0, "head": 0}).topmost_frozen is None
    scratch = run_of([0.7], start="random")
    assert not scratch.is_probe
