"""Adapted networks keep what they learned, and new layers are where they belong."""

import pytest
import torch
from torch import nn

from tasks.backbones import catalogue
from tasks.errors import UserError
from tasks.strategies import freezing, grouping, surgery
from tasks.strategies.stems import Normalisation
from tests.tasks.strategies import slim
from tests.tasks.strategies.pretrained import (
    SIZE,
    adapt,
    assert_every_tensor_has_one_part,
    logits,
    random_images,
    strategy,
    weights,
)

NETWORKS = ("mobilenet_v2", "resnet18", "squeezenet1_0", "convnext_tiny")


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_but_the_head_is_new(name: str) -> None:
    """Only the classifier's last layer is drawn; all else is bit for bit what was loaded, by its own name."""
    adapted = adapt(name)
    head = slim.find(name).head
    after, state = adapted.model.state_dict(), weights(name)
    assert adapted.head == head
    assert adapted.new == ()
    assert after.keys() == state.keys()
    for key, tensor in after.items():
        if not key.startswith(f"{head}."):
            assert torch.equal(tensor, state[key]), key
    groups = {group.name: group for group in grouping.group_by_part(adapted.model, adapted.parts)}
    assert set(groups["head"].parameters) == {f"{head}.weight", f"{head}.bias"}


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_on_top_keep_every_old_weight(name: str) -> None:
    """The old classifier stays, as part of the last stage; the head are the two new layers alone."""
    adapted = adapt(name, classes=5, head={"kind": "on_top", "hidden": 8})
    head = slim.find(name).head
    after = adapted.model.state_dict()
    for key, tensor in weights(name).items():
        now = key.replace(f"{head}.", f"{head}.old.", 1) if key.startswith(f"{head}.") else key
        assert torch.equal(after[now], tensor), key
    groups = grouping.group_by_part(adapted.model, adapted.parts)
    assert f"{head}.old.weight" in groups[-2].parameters
    assert groups[-2].name.startswith("stage")
    new = [key for key in after if key.startswith(f"{head}.new.")]
    assert sorted(groups[-1].parameters) == sorted(new)
    assert len(new) == 4
    layers = adapted.model.get_submodule(adapted.head)
    shapes = [tuple(m.weight.shape[:2]) for m in layers.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert shapes == [(8, 1000), (5, 8)]


@pytest.mark.parametrize("stage_trains", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_precedes_the_old_classifier_follows_the_last_stage(name: str, stage_trains: bool) -> None:
    """With layers on top, dropout in front of the old classifier is on if and only if the last stage trains."""
    adapted = adapt(name, head={"kind": "on_top"})
    groups = grouping.group_by_part(adapted.model, adapted.parts)
    trains = ["head", groups[-2].name] if stage_trains else ["head"]
    plan = freezing.FreezePlan(groups, (freezing.Phase(1, dict.fromkeys(trains, 0.1)),))
    freezing.apply(plan, adapted.model, 0, update_statistics=True)
    drops = {key: module for key, module in adapted.model.named_modules() if isinstance(module, nn.Dropout)}
    assert all(drop.training == stage_trains for drop in drops.values())
    last = next(part for part in adapted.parts if part.name == groups[-2].name)
    assert all(last.owns(key) for key in drops)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_grey_image_is_answered_as_in_three_channels(name: str) -> None:
    """The folded first layer gives what the old one gives to the same grey image repeated three times.

    Nothing else changes, and no weight is left out of the groups.
    """
    grey = random_images(1)
    layer = slim.find(name).input_layer
    answers = []
    for channels in (1, 3):
        adapted = adapt(name, channels)
        images = adapted.normalisation(grey.expand(-1, channels, -1, -1))
        with torch.inference_mode():
            answers.append(adapted.model.get_submodule(layer)(images)[:, :, 3:-3, 3:-3])
    assert answers[1].std() > 0.01, "the layer tells pixels apart"
    assert answers[0].numel() > 0
    torch.testing.assert_close(answers[0], answers[1], atol=1e-4, rtol=1e-4)

    adapted, state = adapt(name, 1), weights(name)
    for key, tensor in adapted.model.state_dict().items():
        if not key.startswith((f"{slim.find(name).head}.", f"{layer}.")):
            assert torch.equal(tensor, state[key]), key
    groups = grouping.group_by_part(adapted.model, adapted.parts)
    assert {f"{layer}.weight", f"{layer}.bias"} <= set(groups[0].parameters)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seed_decides_new_weights_only(name: str) -> None:
    """The same seed draws the same head, another seed another one; loaded weights don't depend on it."""
    head = slim.find(name).head
    first, again, other = (adapt(name, seed=seed).model.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())
    different = {key for key, tensor in first.items() if not torch.equal(tensor, other[key])}
    assert f"{head}.weight" in different
    assert all(key.startswith(f"{head}.") for key in different)


def test_without_weights_the_seed_decides_all() -> None:
    """Training from scratch starts from the seed's own draw."""
    architecture = catalogue.find("shufflenet_v2_x0_5")
    first, again, other = (
        surgery.adapt(architecture, None, SIZE, 2, 3, strategy(seed=seed)).model.state_dict() for seed in (3, 3, 4)
    )
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())
    assert not torch.equal(first["conv1.0.weight"], other["conv1.0.weight"])


def test_weights_of_another_network_are_refused() -> None:
    """No layer keeps random weights unnoticed."""
    state = dict(weights("resnet18"))
    del state["layer1.0.conv1.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*layer1\.0\.conv1\.weight"):
        surgery.adapt(slim.find("resnet18"), state, SIZE, 2, 3, strategy())


@pytest.mark.parametrize("kind", ["linear", "mlp", "cosine"])
def test_stem_stages_and_head_are_replaced_together(kind: str) -> None:
    """Everything that is new trains in every phase; the rest is the old network."""
    settings = {"cut": 1, "insert": 2, "head": {"kind": kind, "hidden": 8, "dropout": 0.1}, "stem": {"init": "sum"}}
    adapted = adapt("resnet18", 5, 7, **settings)
    assert [part.name for part in adapted.parts] == ["stem", "stage1", "stage2", "stage3", "new1", "new2", "head"]
    assert adapted.new == ("stem", "new1", "new2")
    assert len(adapted.normalisation.mean) == 5
    assert_every_tensor_has_one_part(adapted)
    assert logits(adapted, random_images(5)).shape == (2, 7)
    frozen = adapt("resnet18", 5, 7, **(settings | {"stem": {"init": "sum", "frozen": True}}))
    assert frozen.new == ("new1", "new2")


def test_a_size_that_the_network_does_not_take_is_refused() -> None:
    """The network's own message comes through."""
    with pytest.raises(UserError, match=r"data\.size"):
        surgery.adapt(catalogue.find("vit_b_32"), None, 50, 2, 3, strategy())


def test_normalisation_has_the_statistics_of_the_pretraining() -> None:
    """A pixel at the mean becomes 0, one standard deviation above becomes 1, a channel each."""
    normalise = Normalisation((0.2, 0.4, 0.6), (0.2, 0.2, 0.2))
    images = torch.tensor([[51, 102], [102, 153], [153, 204]], dtype=torch.uint8).view(1, 3, 1, 2)
    torch.testing.assert_close(normalise(images)[0, :, 0], torch.tensor([[0.0, 1.0]] * 3), atol=1e-5, rtol=0)
