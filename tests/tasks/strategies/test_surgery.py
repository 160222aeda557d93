"""Replaced heads and first layers leave the rest of a network as it was."""

import pytest
import torch
from torch import Tensor, nn

from tasks.backbones import zoo
from tasks.params import HeadParams
from tasks.strategies import freezing, surgery
from tasks.strategies.surgery import Adapted
from tests.tasks.networks import record_of

NETWORKS = ("mobilenet_v2", "resnet18", "squeezenet1_0", "convnext_tiny")
HEADS = {"linear": HeadParams(), "on_top": HeadParams(kind="on_top", hidden=8)}


@pytest.fixture(scope="module", params=NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    """A network."""
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def state(name: str) -> dict[str, Tensor]:
    """Its weights, with statistics and biases that are not the ones every network starts with."""
    torch.manual_seed(5)
    state = zoo.build(name).state_dict()
    for key, tensor in state.items():
        if tensor.dim() == 1 and tensor.is_floating_point():
            tensor.add_(0.1 * torch.rand_like(tensor))
        assert tensor.isfinite().all(), key
    return state


def adapt(state: dict[str, Tensor] | None, name: str, classes: int = 2, channels: int = 3, kind: str = "linear",
          seed: int = 0) -> Adapted:  # fmt: skip
    """Return an adapted network."""
    return surgery.adapt(state, record_of(name, 64), classes, channels, HEADS[kind], seed)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 5)])
def test_an_adapted_network_takes_the_data(
    name: str, state: dict[str, Tensor], channels: int, classes: int, kind: str
) -> None:
    """Images of the asked-for channels give a finite logit for every class, and the head alone gets new weights."""
    adapted = adapt(state, name, classes, channels, kind)
    images = torch.randint(0, 256, (2, channels, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        logits = adapted.model.eval()(adapted.normalisation(images))
    assert logits.shape == (2, classes)
    assert logits.isfinite().all()


def test_a_new_head_leaves_the_old_weights_alone(name: str, state: dict[str, Tensor]) -> None:
    """Only the classifier's last layer is new; all else is bit for bit what was loaded."""
    adapted = adapt(state, name)
    head = zoo.family_of(name).head
    found = adapted.model.state_dict()
    assert adapted.head == head
    assert found.keys() == state.keys()
    for key, tensor in found.items():
        if not key.startswith(f"{head}."):
            assert torch.equal(tensor, state[key]), key
    assert found[f"{head}.weight"].shape[0] == 2
    groups = {group.name: group for group in freezing.group_by_part(adapted.model, adapted.parts)}
    assert set(groups["head"].parameters) == {f"{head}.weight", f"{head}.bias"}


def test_layers_on_top_keep_every_old_weight(name: str, state: dict[str, Tensor]) -> None:
    """The old classifier stays, as part of the last stage; the head are the two new layers alone."""
    adapted = adapt(state, name, classes=5, kind="on_top")
    head = zoo.family_of(name).head
    found = adapted.model.state_dict()
    for key, tensor in state.items():
        now = key.replace(f"{head}.", f"{head}.old.", 1) if key.startswith(f"{head}.") else key
        assert torch.equal(found[now], tensor), key
    groups = freezing.group_by_part(adapted.model, adapted.parts)
    assert f"{head}.old.weight" in groups[-2].parameters
    assert groups[-2].name.startswith("stage")
    new = [key for key in found if key.startswith(f"{head}.new.")]
    assert sorted(groups[-1].parameters) == sorted(new)
    assert len(new) == 4
    layers = adapted.model.get_submodule(adapted.head)
    shapes = [tuple(m.weight.shape[:2]) for m in layers.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert shapes == [(8, 1000), (5, 8)]


@pytest.mark.parametrize("stage_trains", [False, True])
def test_what_precedes_the_old_classifier_follows_the_last_stage(
    name: str, state: dict[str, Tensor], stage_trains: bool
) -> None:
    """With layers on top, dropout in front of the old classifier is on if and only if the last stage trains."""
    adapted = adapt(state, name, kind="on_top")
    groups = freezing.group_by_part(adapted.model, adapted.parts)
    trains = ["head", groups[-2].name] if stage_trains else ["head"]
    plan = freezing.FreezePlan(groups, (freezing.Phase(1, dict.fromkeys(trains, 0.1)),))
    freezing.apply(plan, adapted.model, 0, update_statistics=True)
    assert all(m.training == stage_trains for m in adapted.model.modules() if isinstance(m, nn.Dropout))


def first_answer(adapted: Adapted, name: str, images: Tensor) -> Tensor:
    """Return what the first convolution answers to images, away from the padding."""
    layer = adapted.model.get_submodule(zoo.family_of(name).input_layer)
    with torch.inference_mode():
        answer: Tensor = layer(adapted.normalisation(images))
    return answer[:, :, 3:-3, 3:-3]


def test_a_grey_image_is_answered_as_in_three_channels(name: str, state: dict[str, Tensor]) -> None:
    """The folded first layer gives what the old one gives to the same grey image repeated three times."""
    generator = torch.Generator().manual_seed(0)
    grey = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8, generator=generator)
    folded = first_answer(adapt(state, name, channels=1), name, grey)
    wanted = first_answer(adapt(state, name, channels=3), name, grey.expand(-1, 3, -1, -1))
    assert wanted.std() > 0.01, "the layer tells pixels apart"
    assert folded.numel() > 0
    torch.testing.assert_close(folded, wanted, atol=1e-4, rtol=1e-4)


def test_folding_leaves_the_other_layers_alone(name: str, state: dict[str, Tensor]) -> None:
    """One channel changes the first layer and the head, nothing else, and no weight is left out of the groups."""
    adapted = adapt(state, name, channels=1)
    family = zoo.family_of(name)
    for key, tensor in adapted.model.state_dict().items():
        if not key.startswith((f"{family.head}.", f"{family.input_layer}.")):
            assert torch.equal(tensor, state[key]), key
    groups = freezing.group_by_part(adapted.model, adapted.parts)
    assert {f"{family.input_layer}.weight", f"{family.input_layer}.bias"} <= set(groups[0].parameters)


def test_the_seed_decides_new_weights_only(name: str, state: dict[str, Tensor]) -> None:
    """The same seed draws the same head, another seed another one; loaded weights don't depend on it."""
    head = zoo.family_of(name).head
    first, again, other = (adapt(state, name, seed=seed).model.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())
    different = {key for key, tensor in first.items() if not torch.equal(tensor, other[key])}
    assert f"{head}.weight" in different
    assert all(key.startswith(f"{head}.") for key in different)


def test_without_weights_the_seed_decides_all() -> None:
    """Training from scratch starts from the seed's own draw."""
    first, again, other = (adapt(None, "shufflenet_v2_x0_5", seed=seed).model.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())
    assert not torch.equal(first["conv1.0.weight"], other["conv1.0.weight"])


def test_normalisation_has_the_statistics_of_the_pretraining() -> None:
    """A pixel at the mean becomes 0, one standard deviation above becomes 1, a channel each."""
    normalise = surgery.Normalisation((0.2, 0.4, 0.6), (0.2, 0.2, 0.2))
    images = torch.tensor([[51, 102], [102, 153], [153, 204]], dtype=torch.uint8).view(1, 3, 1, 2)
    torch.testing.assert_close(normalise(images)[0, :, 0], torch.tensor([[0.0, 1.0]] * 3), atol=1e-5, rtol=0)
