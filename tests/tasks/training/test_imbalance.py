"""What corrects for rare classes, and for images that count more or less."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tasks.params import StrategyParams
from tasks.strategies import freezing
from tasks.training.activations import Cache
from tasks.training.batches import Split
from tasks.training.gradients import Gradients, TrainingLoss, validation_loss
from tasks.training.inference import predict
from tests.tasks.networks import network, strategy
from tests.tasks.training.conftest import CPU, MakeJob, Splits

COMMON, RARE = 0, 1


def labelled(targets: list[int], weights: list[float] | None = None) -> Split:
    """Return a split of which only the classes matter."""
    store = np.zeros((len(targets), 1, 1, 1), dtype=np.uint8)
    return Split(
        store, np.arange(len(targets)), torch.tensor(targets), None if weights is None else torch.tensor(weights)
    )


def mean_loss(settings: StrategyParams, split: Split, classes: int, logits: Tensor) -> Tensor:
    """Return the training loss of a whole split as one batch."""
    loss = TrainingLoss(settings, split, classes, CPU.device)
    return loss(logits, split.targets, split.weights) / loss.total_weight(split.targets, split.weights)


def reference(settings: StrategyParams, split: Split, logits: Tensor) -> float:
    """Return the same, image by image from the papers' formulas in double precision; every class has images."""
    targets, classes = split.targets.tolist(), logits.shape[1]
    weights = [1.0] * len(targets) if split.weights is None else split.weights.tolist()
    counts = [sum(w for w, t in zip(weights, targets, strict=True) if t == c) for c in range(classes)]
    of_class = [sum(counts) / (classes * n) if settings.class_weights else 1.0 for n in counts]
    smoothing, total, divisor = settings.label_smoothing, 0.0, 0.0
    for row, target, weight in zip(logits.double().numpy(), targets, weights, strict=True):
        shifted = row + settings.logit_adjustment * np.log(np.array(counts) / sum(counts))
        probabilities = np.exp(shifted) / np.exp(shifted).sum()
        aims = [(1 - smoothing) * (c == target) + smoothing / classes for c in range(classes)]
        entropy = -sum(a * w * math.log(p) for a, w, p in zip(aims, of_class, probabilities, strict=True))
        total += weight * (1 - probabilities[target]) ** settings.focal_gamma * entropy
        divisor += weight * of_class[target]
    return total / divisor


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0, 3.0, 1.0, 1.5, 2.5, 1.0]])
@pytest.mark.parametrize("correction", [{}, {"class_weights": True}, {"logit_adjustment": 0.7}], ids=str)
def test_the_loss_is_that_of_the_papers(correction: dict[str, Any], weights: list[float] | None) -> None:
    """With every value of the focal loss and of smoothing; 0 is cross-entropy."""
    split = labelled([0, 0, 0, 0, 1, 0, 2, 1], weights)
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)) * 3
    losses = set()
    for gamma, smoothing in itertools.product((0, 0.5, 2), (0, 0.2)):
        settings = strategy(train="all", focal_gamma=gamma, label_smoothing=smoothing, **correction)
        loss = mean_loss(settings, split, 3, logits).item()
        assert loss == pytest.approx(reference(settings, split, logits), rel=1e-4)
        losses.add(round(loss, 5))
    assert len(losses) == 6, "each setting changes the loss"


@pytest.mark.parametrize("gamma", [0.5, 1, 2])
def test_the_focal_loss_of_a_certain_image_has_a_gradient(gamma: float) -> None:
    """Where the target has all the probability the slope is finite, below a power of 1, too."""
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0], [1.0, 0.0]], requires_grad=True)
    mean_loss(strategy(train="all", focal_gamma=gamma), labelled([0, 0, 1]), 2, logits).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0].abs().max() < 1e-3 < logits.grad[2].abs().max()


def optimum(settings: StrategyParams, split: Split, classes: int = 2) -> Tensor:
    """Return the logits, shape (classes,), that a classifier learns to which all images look alike."""
    logits = torch.linspace(2, -1, classes).requires_grad_()
    search = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        loss = mean_loss(settings, split, classes, logits.expand(len(split), -1))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    search.step(closure)  # type: ignore[no-untyped-call]
    return logits.detach()


@pytest.mark.parametrize(
    ("correction", "margin"),
    [
        ({}, math.log(9)),
        ({"logit_adjustment": 0.5}, math.log(9) / 2),
        ({"logit_adjustment": 1.0}, 0),
        ({"logit_adjustment": 2.0}, -math.log(9)),
        ({"class_weights": True}, 0),
    ],
    ids=str,
)
def test_without_information_the_logits_are_those_of_the_frequencies(correction: dict[str, Any], margin: float) -> None:
    """90 images to 10: what is learned favours the common class as much as the correction leaves of it."""
    common, rare = optimum(strategy(train="all", **correction), labelled([COMMON] * 90 + [RARE] * 10))
    assert float(common - rare) == pytest.approx(margin, abs=0.02)


@pytest.mark.parametrize("correction", [{"class_weights": True}, {"logit_adjustment": 1.0}], ids=str)
@pytest.mark.parametrize("absent", [0, 1, 2])
def test_a_class_without_training_images(correction: dict[str, Any], absent: int) -> None:
    """It is taken for one with a single image, whether it comes first or last."""
    targets = [c for c in range(3) for _ in range(5 * (c != absent))]
    settings = strategy(train="all", label_smoothing=0.1, **correction)
    logits = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    sums = [
        TrainingLoss(settings, labelled(known), 3, CPU.device)(logits, torch.tensor(targets)).item()
        for known in (targets, [*targets, absent])
    ]
    assert math.isfinite(sums[0])
    assert sums[0] == pytest.approx(sums[1], rel=1e-6)


CORRECTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "class weights, smoothed": {"class_weights": True, "label_smoothing": 0.1},
    "logit adjustment": {"logit_adjustment": 1.0},
    "focal": {"focal_gamma": 2.0},
}


def gradients_of(settings: StrategyParams, split: Split) -> dict[str, Tensor]:
    """Return loss and gradients of all of a split's images in one batch."""
    adapted, plan = network("resnet18", settings)
    freezing.apply(plan, adapted.model, 0, update_statistics=False)
    images = adapted.normalisation(split.images(np.arange(len(split))))
    loss = Gradients(adapted, settings, CPU, split)(adapted.model, images, split.targets, split.weights)
    gradients = {name: p.grad for name, p in adapted.model.named_parameters() if p.grad is not None}
    return {"loss": torch.tensor(loss)} | gradients


def chosen(split: Split, rows: list[int], weights: list[float] | None = None) -> Split:
    """Return some images of a split."""
    taken = np.array(rows)
    return Split(split.store, split.rows[taken], split.targets[taken], weights and torch.tensor(weights))


@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("micro_batch", [None, 2])
def test_weights_stand_for_how_often_an_image_is_there(
    splits: Splits, correction: str, micro_batch: int | None
) -> None:
    """An image of weight 2 trains as two of it would, one of weight 0 as none; only proportions matter."""
    settings = strategy(train="all", micro_batch=micro_batch, **CORRECTIONS[correction])
    repeated = gradients_of(settings, chosen(splits.train, [0, 1, 2, 2, 30, 30, 31]))
    for scale in (1.0, 100.0):
        weights = [scale * w for w in (1.0, 1.0, 2.0, 0.0, 2.0, 1.0, 0.0)]
        weighted = gradients_of(settings, chosen(splits.train, [0, 1, 2, 3, 30, 31, 32], weights))
        assert weighted.keys() == repeated.keys()
        for name, gradient in repeated.items():
            torch.testing.assert_close(weighted[name], gradient, rtol=1e-3, atol=1e-5)
    plain = gradients_of(settings, chosen(splits.train, [0, 1, 2, 3, 30, 31, 32]))
    assert abs(float(plain["loss"] - repeated["loss"])) > 1e-4


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_a_batch_without_weight_teaches_nothing(splits: Splits, correction: str) -> None:
    """Its loss and its gradients are 0, not undefined."""
    settings = strategy(train="all", **CORRECTIONS[correction])
    gradients = gradients_of(settings, chosen(splits.train, [0, 1, 30], [0.0, 0.0, 0.0]))
    assert not any(tensor.any() for tensor in gradients.values())


@pytest.mark.parametrize("train", ["head", "all"])
@pytest.mark.parametrize(
    "correction", [{}, {"class_weights": True}, {"sampling": "balanced"}, {"logit_adjustment": 1.0}], ids=str
)
def test_images_of_no_weight_have_no_say(job: MakeJob, splits: Splits, train: str, correction: dict[str, Any]) -> None:
    """Whatever their labels, the training ends with the same weights, to the bit; with weight they would matter."""
    doubtful = torch.arange(len(splits.train)) % 3 == 0
    swapped = torch.where(doubtful, RARE, splits.train.targets)
    states = []
    for place, (weight, targets) in enumerate(itertools.product((0.0, 0.5), (splits.train.targets, swapped))):
        weights = torch.where(doubtful, weight, 1.0)
        made = job(
            images=replace(splits.train, targets=targets, weights=weights),
            place=f"place-{place}", train=train, lr=0.003, epochs=1, **correction,
        )  # fmt: skip
        made.fit()
        states.append(nn.utils.parameters_to_vector(made.adapted.model.parameters()).detach().clone())
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[2], states[3])


def bright(common: int, rare: int, seed: int) -> Split:
    """Return plain images of two classes; the rare one is somewhat brighter, but the two overlap."""
    drawn = np.random.default_rng(seed)
    targets = np.repeat([COMMON, RARE], [common, rare])
    shades = drawn.normal(100 + 40 * targets, 30).clip(0, 255)
    store = np.broadcast_to(shades[:, None, None, None], (len(shades), 32, 32, 1)).astype(np.uint8)
    return Split(store, np.arange(len(shades)), torch.from_numpy(targets))


def recall(job: MakeJob, place: str, **settings: Any) -> float:
    """Return the share of the rare class that is found after training the head.

    A last phase of one epoch that hardly moves is kept whatever its validation loss, which favours common classes.
    """
    phases = [{"train": "head", "epochs": 40, "lr": 0.01}, {"train": "head", "epochs": 1, "lr": 1e-6}]
    made = job("resnet18", place=place, images=bright(108, 12, 0), phases=phases, batch_size=40, **settings)
    cache = Cache(made.training_job.checkpoint.parent / "activations", 2**30, place)
    made = made._replace(training_job=replace(made.training_job, cache=cache))
    made.fit()
    return float(predict(made.adapted, bright(0, 60, 1), CPU).argmax(1).double().mean())


def test_a_rare_class_is_found_more_often(job: MakeJob) -> None:
    """With each of the options; none of them stays without effect on images that overlap."""
    plain = recall(job, "plain")
    options = [{"class_weights": True}, {"sampling": "balanced"}, {"logit_adjustment": 1.0}, {"focal_gamma": 2.0}]
    for option in options:
        assert recall(job, next(iter(option)), **option) > plain + 0.1


@pytest.mark.parametrize("train", ["head", "all"])
def test_every_way_of_training_samples_as_it_is_told(job: MakeJob, unbalanced: Split, train: str) -> None:
    """From stored features and from images, balanced sampling leaves the rare class more probability."""
    shares = []
    for sampling in ("natural", "balanced"):
        data = {"images": unbalanced, "val": unbalanced}
        made = job(place=sampling, **data, train=train, lr=0.05, epochs=6, sampling=sampling)
        made.fit()
        shares.append(float(predict(made.adapted, unbalanced, CPU).softmax(1)[:, RARE].mean()))
    assert shares[1] > shares[0] + 0.05


def test_classes_count_alike_where_an_epoch_is_chosen() -> None:
    """More images of the common class change the choice only of a training that isn't told to treat classes alike."""
    logits, targets = torch.tensor([[2.0, 0.0], [0.5, 0.0], [1.0, 0.0]]), torch.tensor([COMMON, COMMON, RARE])
    again = torch.tensor([0, 1, 0, 1, 0, 1, 2])
    for option in ({"class_weights": True}, {"sampling": "balanced"}, {"logit_adjustment": 1.0}):
        settings = strategy(train="head", **option)
        once, more = (
            validation_loss(logits, targets, settings),
            validation_loss(logits[again], targets[again], settings),
        )
        assert more == pytest.approx(once)
    plain = strategy(train="head")
    assert validation_loss(logits[again], targets[again], plain) < validation_loss(logits, targets, plain)
