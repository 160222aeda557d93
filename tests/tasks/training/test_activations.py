"""Stored features stand for the frozen network."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from tasks.params import Sampling
from tasks.training.activations import Activations, answers_logits, features, only_head_trains
from tasks.training.batches import Split, training_batches
from tasks.training.loop import predict
from tests.tasks.networks import adapt, network, strategy
from tests.tasks.training.conftest import CPU, Splits

NETWORKS = ("shufflenet_v2_x0_5", "mobilenet_v3_small", "mobilenet_v2")
HEADS = {kind: {"kind": kind, "hidden": 8} for kind in ("linear", "mlp", "cosine", "on_top")}


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_head_answers_features_as_the_network_answers_images(splits: Splits, name: str, kind: str) -> None:
    """Logits through the stored features are those of the whole network, for both splits and in their order."""
    adapted = adapt(name, strategy(train="head", head=HEADS[kind]), classes=3)
    head = adapted.model.get_submodule(adapted.head)
    for parameter in head.parameters():
        parameter.data *= 20
    stored = Activations.compute(adapted, splits.train, splits.val, CPU)
    whole = predict(adapted, splits.val, CPU)
    assert answers_logits(adapted)
    assert whole.std() > 1e-3
    torch.testing.assert_close(stored.validation_logits(head), whole, atol=1e-4, rtol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(head(stored.train), predict(adapted, splits.train, CPU), atol=1e-4, rtol=1e-4)


def test_a_head_that_is_pooled_after_is_no_shortcut(splits: Splits) -> None:
    """SqueezeNet's last layer is a convolution; what it answers is not yet the network's answer."""
    adapted, _ = network("squeezenet1_1", strategy(train="head"))
    assert not answers_logits(adapted)
    head = adapted.model.get_submodule(adapted.head)
    assert head(features(adapted, splits.val, CPU)).shape != predict(adapted, splits.val, CPU).shape


def test_features_can_be_trained_on(splits: Splits) -> None:
    """Every image's features come once an epoch with its own target, and gradients reach the head."""
    adapted, _ = network("shufflenet_v2_x0_5", strategy(train="head"))
    stored = Activations.compute(adapted, splits.train, splits.val, CPU)
    known = {tuple(row.tolist()): int(target) for row, target in zip(stored.train, stored.targets, strict=True)}
    assert len(known) == len(splits.train)
    batches = list(stored.training_batches(10, 0, 0))
    seen = [tuple(row.tolist()) for batch in batches for row in batch.inputs]
    assert sorted(seen) == sorted(known)
    assert [known[row] for row in seen] == torch.cat([batch.targets for batch in batches]).tolist()
    head = adapted.model.get_submodule(adapted.head)
    head(batches[0].inputs).sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("sampling", get_args(Sampling))
def test_features_come_in_the_order_of_images(splits: Splits, unbalanced: Split, sampling: Sampling) -> None:
    """Each step has the images that it would have without the shortcut, with their weights."""
    adapted, _ = network("shufflenet_v2_x0_5", strategy(train="head"))
    weighted = replace(unbalanced, weights=torch.arange(len(unbalanced)).float())
    stored = Activations.compute(adapted, weighted, splits.val, CPU)
    from_images = list(training_batches(weighted, 8, None, 1, 2, 1, sampling))
    from_features = list(stored.training_batches(8, 1, 2, 1, sampling))
    assert len(from_images) == len(from_features) > 1
    for images, rows in zip(from_images, from_features, strict=True):
        assert images.weights is not None
        assert rows.weights is not None
        assert torch.equal(images.targets, rows.targets)
        assert torch.equal(images.weights, rows.weights)
        assert torch.equal(rows.inputs, stored.train[rows.weights.long()])


def test_the_shortcut_is_for_phases_of_the_head_alone() -> None:
    """As soon as anything else trains, features change from step to step."""
    adapted, plan = network(
        "shufflenet_v2_x0_5",
        strategy(
            phases=[{"train": "head", "epochs": 1}, {"train": ["stages[-1]", "head"]}, {"train": "stem"}], epochs=1
        ),
    )
    assert [only_head_trains(plan, epoch, adapted) for epoch in range(3)] == [True, False, False]
