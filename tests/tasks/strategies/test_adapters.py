"""Adapters train in place of the weights beside them, and disappear into them afterwards."""

import sys

import pytest
import torch
from torch import Tensor, nn, optim

from tasks.backbones.architecture import Architecture, Part
from tasks.errors import UserError
from tasks.params import AdaptersParams
from tasks.strategies import adapters, surgery
from tasks.strategies.surgery import Adapted
from tests.tasks.strategies.pretrained import (
    SIZE,
    adapt,
    assert_every_tensor_has_one_part,
    logits,
    random_images,
    strategy,
    weights,
)

KINDS = ("lora", "loha", "lokr", "ia3")
NETWORKS = (
    "resnet18", "mobilenet_v3_small", "squeezenet1_1", "swin_t", "vit_b_16", "convnext_tiny", "densenet121",
    "googlenet",
)  # fmt: skip


def params(**settings: object) -> AdaptersParams:
    """Return adapters."""
    return AdaptersParams.model_validate({"rank": 4} | settings)


def inject(adapted: Adapted, parts: tuple[str, ...] | None = None, channels: int = 3, **settings: object) -> list[str]:
    """Put adapters into a network's parts, all by default; return the names of their parameters."""
    names = tuple(part.name for part in adapted.parts) if parts is None else parts
    adapters.inject(adapted, params(**settings), names, SIZE, channels)
    return adapters.trainable_names(adapted.model)


def train(adapted: Adapted, names: list[str], images: Tensor) -> None:
    """Move the named parameters alone, by a few steps."""
    parameters = dict(adapted.model.named_parameters())
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in names)
    optimizer = optim.Adam([parameters[name] for name in names], lr=5e-3)
    for _ in range(3):
        adapted.model.eval()(adapted.normalisation(images))[:, 0].sum().neg().backward()
        optimizer.step()
        optimizer.zero_grad()


def without_adapters(adapted: Adapted) -> dict[str, Tensor]:
    """Return copies of a network's own tensors by their plain names."""
    network_names = set(adapted.model.state_dict()) - set(adapters.trainable_names(adapted.model))
    return {name.replace("base_layer.", ""): adapted.model.state_dict()[name].clone() for name in network_names}


CASES = [(name, "lora") for name in NETWORKS]
CASES += [(name, kind) for name in ("mobilenet_v3_small", "swin_t", "squeezenet1_1") for kind in KINDS[1:]]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_adapters_train_and_merge(name: str, kind: str) -> None:
    """They change nothing to begin with; every one of them trains; the weights beside them stay to the bit until they
    are merged, and the merged network answers as the adapted one did, with the plain network's names.
    """
    images = random_images()
    adapted = adapt(name)
    plain, start = logits(adapted, images), {key: tensor.clone() for key, tensor in adapted.model.state_dict().items()}
    names = inject(adapted, kind=kind)
    assert torch.equal(logits(adapted, images), plain)
    assert_every_tensor_has_one_part(adapted)

    before = {key: adapted.model.get_parameter(key).detach().clone() for key in names}
    train(adapted, names, images)
    parameters = dict(adapted.model.named_parameters())
    assert [key for key in names if torch.equal(parameters[key], before[key])] == []
    assert without_adapters(adapted).keys() == start.keys()
    assert all(torch.equal(tensor, start[key]) for key, tensor in without_adapters(adapted).items())
    trained = logits(adapted, images)
    assert (trained - plain).abs().max() > 1e-3 * plain.abs().max()

    adapters.merge(adapted.model)
    assert list(adapted.model.state_dict()) == list(start)
    assert adapters.trainable_names(adapted.model) == []
    torch.testing.assert_close(logits(adapted, images), trained, atol=1e-4 * trained.abs().max().item(), rtol=1e-4)


def layers_with(adapted: Adapted, names: list[str]) -> set[str]:
    """Return the layers that have adapters."""
    return {
        name for name, _ in adapted.model.named_modules() if any(key.startswith(f"{name}.lora_A.") for key in names)
    }


def test_by_default_every_layer_of_the_parts_that_runs_has_one() -> None:
    """Convolutions in groups have none, nor have the head and parts that don't train."""
    adapted = adapt("mobilenet_v3_small")
    layers = layers_with(adapted, inject(adapted, ("stage3", "stage5", "head")))
    owners = [part for part in adapted.parts if part.name in {"stage3", "stage5"}]
    expected = {
        name.removesuffix(".base_layer")
        for name, module in adapted.model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "lora" not in name and any(part.owns(name) for part in owners)
        and getattr(module, "groups", 1) == 1
    }  # fmt: skip
    assert layers == expected
    assert "classifier.0" in layers
    assert any("fc1" in layer for layer in layers), "squeeze-and-excitation"


@pytest.mark.parametrize(
    ("name", "dead", "alive"),
    [
        ("vit_b_16", "encoder.layers.encoder_layer_0.self_attention.out_proj", "encoder.layers.encoder_layer_0.mlp.0"),
        ("swin_t", "features.1.0.attn.qkv", "features.1.0.mlp.0"),
    ],
)
def test_layers_that_are_never_called_have_none(name: str, dead: str, alive: str) -> None:
    """An adapter beside weights that the attention takes for itself would be silently dead."""
    adapted = adapt(name)
    layers = layers_with(adapted, inject(adapted))
    assert dead not in layers
    assert alive in layers
    with pytest.raises(UserError, match=rf"matches '{dead}', which the network uses without calling it: choose from"):
        inject(adapt(name), targets=dead)


def test_targets_are_whole_names() -> None:
    """Patterns match whole names within the parts that train; several add up."""
    adapted = adapt("resnet18")
    names = inject(adapted, ("stage3", "stage4"), targets=[r"layer\d\.0\.conv1", "layer4.0.conv2"])
    assert layers_with(adapted, names) == {"layer3.0.conv1", "layer4.0.conv1", "layer4.0.conv2"}


@pytest.mark.parametrize(
    ("name", "pattern", "message"),
    [
        ("resnet18", "conv1", "'conv1' matches no layer of stage4: choose from layer4.0.conv1, layer4.0.conv2, "),
        ("resnet18", "layer1.0.conv1", "matches no layer of stage4"),
        ("resnet18", r"layer4\.0\.bn.", "'layer4.0.bn1', which is a BatchNorm2d, neither a linear layer nor a conv"),
        ("mobilenet_v3_small", r"features\.9\.block\.1\.0", "which is a convolution in 288 groups: choose from "),
        ("resnet18", "layer4(", r"'layer4\(' is no regular expression"),
    ],
)
def test_targets_that_fit_nothing_are_refused(name: str, pattern: str, message: str) -> None:
    """The message has the pattern, what is wrong with it, and a readable number of layers to choose from."""
    with pytest.raises(UserError, match=message) as error:
        inject(adapt(name), ("stage4", "head"), targets=pattern)
    assert str(error.value).startswith("params.yaml: adapters.targets: ")
    assert len(str(error.value)) < 600


def test_long_lists_of_layers_are_cut_short() -> None:
    """A network has hundreds of layers."""
    with pytest.raises(UserError, match=r"features\.conv0, .* and \d+ more$"):
        inject(adapt("densenet121"), targets="nothing")


def test_a_head_alone_has_no_adapters() -> None:
    """It trains whole, and so do new stages."""
    adapted = adapt("resnet18", insert=1)
    with pytest.raises(UserError, match="needs a part besides the head"):
        inject(adapted, ("new1", "head"))


def test_parts_without_such_layers_are_refused() -> None:
    """The message names the parts."""
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, groups=6), nn.Flatten(), nn.LazyLinear(2))
    model(torch.zeros(1, 3, SIZE, SIZE))
    parts = (Part("stem", ("0",)), Part("stage1", ("1",)), Part("head", ("3", "2")))
    adapted = Adapted(model, parts, "3", adapt("resnet18").normalisation, classes=2)
    with pytest.raises(UserError, match="no layer in stage1 that can have one"):
        inject(adapted, ("stage1", "head"))


def test_a_rank_above_the_layers_width_is_fine() -> None:
    """The first convolution of a grey image has one channel."""
    for kind in KINDS:
        adapted = adapt("resnet18", channels=1)
        names = inject(adapted, channels=1, kind=kind, rank=100)
        assert any(name.startswith("conv1.") for name in names)
        train(adapted, names, random_images(1))
        trained = logits(adapted, random_images(1))
        adapters.merge(adapted.model)
        torch.testing.assert_close(logits(adapted, random_images(1)), trained, atol=1e-3, rtol=1e-3)


def test_adapters_go_with_other_stages_and_channels() -> None:
    """Parts with new weights have none."""
    adapted = adapt("resnet18", channels=5, cut=1, insert=1)
    names = inject(adapted, channels=5)
    layers = layers_with(adapted, names)
    assert {layer.split(".")[0] for layer in layers} == {"layer1", "layer2", "layer3"}
    train(adapted, names, random_images(5))
    trained = logits(adapted, random_images(5))
    adapters.merge(adapted.model)
    torch.testing.assert_close(logits(adapted, random_images(5)), trained, atol=1e-4, rtol=1e-4)
    assert list(adapted.model.state_dict()) == list(adapt("resnet18", channels=5, cut=1, insert=1).model.state_dict())


def test_the_seed_decides_the_adapters() -> None:
    """The same seed draws the same ones, whatever was drawn in between; another seed draws others."""

    def drawn(seed: int, between: int) -> Tensor:
        adapted = adapt("resnet18", seed=seed)
        torch.rand(between)
        return adapted.model.get_parameter(inject(adapted)[0])

    assert torch.equal(drawn(3, 0), drawn(3, 7))
    assert not torch.equal(drawn(3, 0), drawn(4, 0))


def test_alpha_and_rank_scale_the_update() -> None:
    """The update is scaled by alpha / rank."""
    ends = []
    for alpha in (4.0, 8.0):
        adapted = adapt("resnet18")
        names = inject(adapted, ("stage4",), alpha=alpha, targets="layer4.0.conv2")
        with torch.no_grad():
            for name in names:
                adapted.model.get_parameter(name).fill_(0.1)
        adapters.merge(adapted.model)
        ends.append(adapted.model.state_dict()["layer4.0.conv2.weight"] - weights("resnet18")["layer4.0.conv2.weight"])
    torch.testing.assert_close(ends[1], 2 * ends[0], atol=1e-4, rtol=1e-3)


def test_dropout_is_lora_s() -> None:
    """It is a module, whose mode follows its part; the other kinds have none, and say so."""
    adapted = adapt("resnet18")
    inject(adapted, ("stage4",), dropout=0.5)
    drops = {name: module for name, module in adapted.model.named_modules() if isinstance(module, nn.Dropout)}
    assert drops.keys() == {f"layer4.0.{layer}.lora_dropout.default" for layer in ("conv1", "conv2", "downsample.0")}
    assert all(drop.p == 0.5 for drop in drops.values())
    with pytest.raises(UserError, match=r"'adapters\.dropout' goes with lora, not with ia3"):
        inject(adapt("resnet18"), kind="ia3", dropout=0.5)


class AsksForGeometry(nn.Module):
    """Computes its own padding from a convolution's kernel size, as some networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 4, stride=4)
        self.layer = nn.Conv2d(4, 4, 3)
        self.shifted = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        self.head = nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        side = self.layer.kernel_size[0] // 2
        maps = self.layer(nn.functional.pad(self.stem(images), [side] * 4)).relu()
        logits: Tensor = self.head(self.shifted(maps).mean((2, 3)))
        return logits


def test_a_network_may_ask_a_layer_for_its_geometry() -> None:
    """Convolutions that peft would compute wrongly have no adapters."""
    parts = [Part("stem", ("stem",)), Part("stage1", ("layer", "shifted")), Part("head", ("head",))]
    architecture = Architecture(
        "my:net", "head", "stem", (), 0.0, (0.5,) * 3, (0.25,) * 3, SIZE, 4, None, "",
        lambda _: AsksForGeometry(), lambda _: parts,
    )  # fmt: skip
    adapted = surgery.adapt(architecture, None, SIZE, 2, 3, strategy())
    assert layers_with(adapted, inject(adapted, ("stage1",))) == {"layer"}
    assert logits(adapted, random_images()).shape == (2, 2)


def test_without_peft_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is an extra."""
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[peft\]'"):
        inject(adapt("resnet18"))


def test_modes_and_gradients_are_left_to_the_plan() -> None:
    """Looking for layers leaves the network's modes alone, and nothing is frozen by the way."""
    adapted = adapt("mobilenet_v3_small")
    adapted.model.eval()
    adapted.model.get_submodule("classifier").train()
    before = {name: module.training for name, module in adapted.model.named_modules()}
    inject(adapted, ("stage2",))
    after = {name: module.training for name, module in adapted.model.named_modules()}
    assert all(after[name] == training for name, training in before.items() if name in after)
    assert all(parameter.requires_grad for parameter in adapted.model.parameters())
