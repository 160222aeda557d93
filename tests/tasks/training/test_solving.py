"""Solved heads are at the least loss, and the validation loss chooses how far they are regularised."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from tasks.training.batches import Split
from tasks.training.gradients import TrainingLoss, validation_loss
from tasks.training.solving import STRENGTHS, Solved, solve
from tests.tasks.networks import strategy

CLASSES = 3


def clouds(count: int, seed: int, weights: Tensor | None = None) -> tuple[Tensor, Split]:
    """Return overlapping clouds of features on very different scales, one a class, the first the most frequent."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.multinomial(torch.tensor([0.6, 0.3, 0.1]), count, replacement=True, generator=generator)
    centres = torch.randn(CLASSES, 6, generator=torch.Generator().manual_seed(99))
    features = centres[targets] + 1.5 * torch.randn(count, 6, generator=generator)
    scales = torch.tensor([1.0, 2.0, 0.5, 5.0, 1.0, 3.0])
    return features * scales + 7, Split(np.zeros((count, 1, 1, 1), np.uint8), np.arange(count), targets, weights)


def solved(weights: Tensor | None = None, **settings: Any) -> tuple[Solved, Tensor, Split, Tensor, Split]:
    """Return a head that is solved on some clouds, and the clouds."""
    (train, of_train), (val, of_val) = clouds(300, 0, weights), clouds(200, 1)
    return (
        solve(train.clone(), of_train, val.clone(), of_val, CLASSES, strategy(train="head", **settings)),
        train,
        of_train,
        val,
        of_val,
    )


def penalised(loss: TrainingLoss, weight: Tensor, bias: Tensor, features: Tensor, of: Split, strength: float) -> Tensor:
    """Return the penalised loss of a head, the penalty being on the weights for standardised features."""
    total = loss.total_weight(of.targets, of.weights)
    scaled = weight * features.std(0, correction=0)
    return loss(features @ weight.T + bias, of.targets, of.weights) / total + strength / 2 * scaled.square().sum()


@pytest.mark.parametrize(
    "settings",
    [{}, {"class_weights": True}, {"label_smoothing": 0.2}, {"logit_adjustment": 1.0}, {"weighted": True}],
    ids=lambda settings: next(iter(settings), "plain"),
)
def test_no_head_near_by_has_a_lower_loss(settings: dict[str, Any]) -> None:
    """At the solution the slope of the penalised training loss is zero, with whatever the loss corrects."""
    weights = torch.rand(300, generator=torch.Generator().manual_seed(5)) if settings.pop("weighted", False) else None
    head, train, of_train, _, _ = solved(weights, **settings)
    loss = TrainingLoss(strategy(train="head", **settings), of_train, CLASSES, torch.device("cpu"))
    weight, bias = head.weight.double().requires_grad_(), head.bias.double().requires_grad_()
    penalised(loss, weight, bias, train.double(), of_train, head.strength).backward()
    assert weight.grad is not None
    assert bias.grad is not None
    assert float((weight.grad / train.std(0)).abs().max()) < 1e-3
    assert float(bias.grad.abs().max()) < 1e-3


def test_agrees_with_logistic_regression() -> None:
    """scikit-learn finds the same probabilities for the strength that was chosen."""
    head, train, of_train, val, _ = solved()
    mean, scale = train.mean(0), train.std(0, correction=0)
    peer = LogisticRegression(C=1 / (head.strength * len(train)), max_iter=5000, tol=1e-8)
    peer.fit(((train - mean) / scale).numpy(), of_train.targets.numpy())
    expected = peer.predict_proba(((val - mean) / scale).numpy())
    ours = (val @ head.weight.T + head.bias).softmax(1)
    assert ours.numpy() == pytest.approx(expected, abs=2e-3)


def test_validation_chooses_the_strength() -> None:
    """The strength is the one with the lowest validation loss, which is the returned head's."""
    head, _, _, val, of_val = solved()
    assert list(head.val_losses) == list(STRENGTHS)
    assert head.strength == min(head.val_losses, key=head.val_losses.__getitem__)
    loss = validation_loss(val @ head.weight.T + head.bias, of_val.targets, strategy(train="head"))
    assert loss == pytest.approx(head.val_losses[head.strength], abs=1e-4)


def test_a_feature_that_hardly_varies_stays_harmless() -> None:
    """A feature that is constant in training can't decide when it varies later."""
    (train, of_train), (val, of_val) = clouds(300, 0), clouds(200, 1)
    train[:, 0], val[:, 0] = 1.0, torch.linspace(-5, 5, 200)
    head = solve(train.clone(), of_train, val.clone(), of_val, CLASSES, strategy(train="head"))
    assert float(head.weight[:, 0].abs().max()) < 1e-6
    assert head.weight.isfinite().all()


def test_one_class_in_training_is_no_trap() -> None:
    """With a single class the head predicts it, finitely."""
    train, of_train = clouds(50, 0)
    single = Split(of_train.store, of_train.rows, torch.zeros_like(of_train.targets))
    head = solve(train.clone(), single, train.clone(), single, CLASSES, strategy(train="head"))
    assert head.weight.isfinite().all()
    assert bool(((train @ head.weight.T + head.bias).argmax(1) == 0).all())
