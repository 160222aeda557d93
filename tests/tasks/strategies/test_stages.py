"""Stages are taken away and put in; what is kept is the old network, tensor by tensor."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn, optim

from tasks.backbones import catalogue
from tasks.backbones.architecture import Architecture, Part
from tasks.errors import UserError
from tasks.evaluation.classifier import ImageClassifier
from tasks.strategies import surgery
from tasks.strategies.surgery import Adapted
from tasks.training.folding import folded
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

NETWORKS = (
    "resnet18", "mobilenet_v3_small", "squeezenet1_1", "swin_t", "vit_b_16", "convnext_tiny", "densenet121",
    "googlenet",
)  # fmt: skip


def stages_of(name: str) -> list[Part]:
    """Return the stages of a whole network."""
    return [part for part in adapt(name).parts if part.name.startswith("stage")]


def features_of(adapted: Adapted, images: Tensor) -> Tensor:
    """Return what reaches the head."""
    seen: list[Tensor] = []
    head = adapted.model.get_submodule(adapted.head)
    handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    logits(adapted, images)
    handle.remove()
    return seen[0]


def output_of(adapted: Adapted, module: str, images: Tensor) -> Tensor:
    """Return what a module of a whole network answers."""
    seen: list[Tensor] = []
    handle = adapted.model.get_submodule(module).register_forward_hook(
        lambda _, __, output: seen.append(output.clone())  # what follows may work in place
    )
    logits(adapted, images)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize(("cut", "insert"), [(1, 0), (0, 1), (1, 2)])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_kept_stages_are_the_old_ones(name: str, cut: int, insert: int) -> None:
    """Every kept tensor has its old name and bits and one part; the cut stages and the old head are gone."""
    adapted = adapt(name, classes=5, cut=cut, insert=insert)
    kept = stages_of(name)[: len(stages_of(name)) - cut]
    new = [f"new{place}" for place in range(1, insert + 1)]
    assert [part.name for part in adapted.parts] == ["stem", *(part.name for part in kept), *new, "head"]
    assert adapted.new == tuple(new)
    assert adapted.auxiliary_weight == 0
    assert_every_tensor_has_one_part(adapted)

    before, after = weights(name), adapted.model.state_dict()
    body = {key for part in adapted.parts if part.name not in {*new, "head"} for key in after if part.owns(key)}
    whole = adapt(name)
    expected = {
        key
        for part in whole.parts
        if part.name in {"stem", *(p.name for p in kept)}
        for key in before
        if part.owns(key)
    }
    assert body == expected
    assert all(torch.equal(after[key], before[key]) for key in body)
    assert {key.split(".")[0] for key in after.keys() - body} == {"head", *new}
    answer = logits(adapted, random_images())
    assert answer.shape == (2, 5)
    assert answer.isfinite().all()


POOLED: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "resnet18": ("layer3", lambda maps: maps.mean((2, 3))),
    "squeezenet1_1": ("features.11", lambda maps: maps.mean((2, 3))),
    "mobilenet_v3_small": ("features.12", lambda maps: maps.mean((2, 3))),
    "swin_t": ("features.5", lambda maps: maps.mean((1, 2))),
    "vit_b_16": ("encoder.layers.encoder_layer_0", lambda tokens: tokens[:, 0]),
    "convnext_tiny": ("features.5", lambda maps: maps.mean((2, 3))),
    "densenet121": ("features.denseblock3", lambda maps: maps.mean((2, 3))),
    "googlenet": ("inception5a", lambda maps: maps.mean((2, 3))),
}


@pytest.mark.parametrize("name", POOLED)
def test_the_head_is_given_the_pooled_features_of_the_last_kept_stage(name: str) -> None:
    """Maps are averaged over their positions, wherever the channels are; of tokens the class token is taken."""
    images = random_images()
    module, pool = POOLED[name]
    if name == "squeezenet1_1":
        module = stages_of(name)[-2].prefixes[-1]
    wanted = pool(output_of(adapt(name), module, images))
    torch.testing.assert_close(features_of(adapt(name, cut=1), images), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_new_stages_start_as_the_identity(name: str) -> None:
    """They change nothing to begin with."""
    images = random_images()
    features = features_of(adapt(name, cut=1, insert=2), images)
    torch.testing.assert_close(features, features_of(adapt(name, cut=1), images))


def sizes(adapted: Adapted) -> tuple[int, int]:
    """Return the number of parameters of the new stages, and of what was kept."""
    new, kept = 0, 0
    for key, parameter in adapted.model.named_parameters():
        part = next(part.name for part in adapted.parts if part.owns(key))
        new += parameter.numel() if part in adapted.new else 0
        kept += parameter.numel() if part not in {*adapted.new, "head"} else 0
    return new, kept


@pytest.mark.parametrize("insert", [1, 2, 8])
@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "vit_b_16"])
def test_new_stages_are_smaller_than_what_is_kept(name: str, cut: int, insert: int) -> None:
    """However wide the features are, however many stages are put in."""
    new, kept = sizes(adapt(name, cut=cut, insert=insert))
    assert 0 < new <= kept


@pytest.mark.parametrize(
    ("name", "parameters"), [("mobilenet_v2", 1_744_640), ("resnet18", 280_064), ("shufflenet_v2_x0_5", 312_800)]
)
def test_a_new_stage_of_a_small_network_is_small(name: str, parameters: int) -> None:
    """Two full convolutions at the width of MobileNetV2's features would have 29.5 million."""
    adapted = surgery.adapt(catalogue.find(name), None, SIZE, 2, 3, strategy(insert=1))
    assert sizes(adapted)[0] == parameters


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "swin_t", "vit_b_16"])
def test_new_stages_train(name: str, cut: int) -> None:
    """After a few steps every weight of theirs has moved."""
    images = random_images(count=4)
    adapted = adapt(name, cut=cut, insert=2)
    before = copy.deepcopy(adapted.model.state_dict())
    parameters = dict(adapted.model.named_parameters())
    optimizer = optim.Adam(parameters.values(), lr=1e-3)
    for _ in range(3):
        adapted.model.train()(adapted.normalisation(images))[:, 0].exp().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    still = {key for key in parameters if key.startswith("new") and torch.equal(parameters[key], before[key])}
    assert not still
    assert logits(adapted, images).isfinite().all()


def test_an_activation_after_the_last_stage_is_kept() -> None:
    """DenseNet's is a function, MobileNetV3's a layer of the old head; both come before the new stages."""
    images = random_images()
    densenet = adapt("densenet121", insert=1)
    wanted = output_of(adapt("densenet121"), "features.norm5", images).relu().mean((2, 3))
    torch.testing.assert_close(features_of(densenet, images), wanted, atol=1e-4, rtol=1e-4)
    mobilenet = adapt("mobilenet_v3_small", insert=1)
    wanted = nn.functional.hardswish(output_of(adapt("mobilenet_v3_small"), "classifier.0", images))
    torch.testing.assert_close(features_of(mobilenet, images), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["linear", "mlp", "cosine"])
def test_the_new_head_is_of_the_kind_asked_for(kind: str) -> None:
    """It normalises the pooled features first."""
    adapted = adapt("resnet18", cut=1, head={"kind": kind, "hidden": 8, "dropout": 0.3})
    layers = [type(m).__name__ for m in adapted.model.get_submodule(adapted.head).children()]
    last = "CosineLinear" if kind == "cosine" else "Linear"
    between = ["Linear", "ReLU"] if kind == "mlp" else []
    assert layers == ["LayerNorm", *between, "Dropout", last]


def test_more_cuts_than_stages_are_refused() -> None:
    """The message has the number of stages and their names; cutting all of them leaves the stem."""
    with pytest.raises(UserError, match=r"'cut: 5' .*the 4 stages of resnet18 \(stage1, stage2, stage3, stage4\)"):
        adapt("resnet18", cut=5)
    adapted = adapt("resnet18", cut=4)
    assert [part.name for part in adapted.parts] == ["stem", "head"]
    wanted = output_of(adapt("resnet18"), "bn1", random_images()).relu().mean((2, 3))
    torch.testing.assert_close(features_of(adapted, random_images()), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["convnext_tiny", "swin_t"])
def test_each_module_keeps_its_own_mode(name: str) -> None:
    """Stochastic depth and dropout are on only in modules that are in training mode, whatever the root's mode."""
    adapted = adapt(name, cut=1, insert=1, head={"dropout": 0.5})
    images = adapted.normalisation(random_images(count=8))
    model = adapted.model

    def differs(model: nn.Module) -> bool:
        with torch.no_grad():
            return not torch.equal(model(images), model(images))

    for module in model.train().modules():
        if isinstance(module, nn.Dropout) or "StochasticDepth" in type(module).__name__:
            setattr(module, "p", 0.5)  # noqa: B010
    assert differs(model)
    assert not differs(model.eval())
    depths = [module for module in model.modules() if "StochasticDepth" in type(module).__name__]
    for module in depths:
        module.train()
    assert differs(model)
    model.eval()
    model.get_submodule(adapted.head)[1].train()  # type: ignore[index]
    assert differs(model)


def test_statistics_follow_the_mode_of_each_norm() -> None:
    """A kept BatchNorm in evaluation mode keeps its statistics while a new one in training mode updates its own."""
    adapted = adapt("resnet18", cut=1, insert=1)
    model = adapted.model.eval()
    model.get_submodule("new1.bn1").train()
    before = copy.deepcopy(model.state_dict())
    model(adapted.normalisation(random_images()))
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    assert moved == {f"new1.bn1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "vit_b_16", "convnext_tiny"])
def test_the_result_can_be_exported(name: str) -> None:
    """The exported program answers as the network does, for another number of images than it was exported with."""
    adapted = adapt(name, cut=1, insert=1)
    classifier = ImageClassifier(adapted, SIZE).eval()
    batch = torch.export.Dim("batch")
    program = torch.export.export(classifier, (random_images(),), dynamic_shapes=({0: batch},))
    images = random_images(count=5)
    torch.testing.assert_close(program.module()(images), classifier(images), atol=1e-5, rtol=1e-4)


def test_a_copy_is_a_network_of_its_own() -> None:
    """Averaging and checkpoints copy networks and load their tensors."""
    adapted = adapt("resnet18", cut=1, insert=1)
    images = adapted.normalisation(random_images())
    copied = copy.deepcopy(adapted.model).eval()
    wanted = adapted.model.eval()(images)
    with torch.no_grad():
        for parameter in adapted.model.parameters():
            parameter.zero_()
    torch.testing.assert_close(copied(images), wanted)
    adapted.model.load_state_dict(copied.state_dict())
    torch.testing.assert_close(adapted.model(images), wanted)


def test_norms_can_be_folded() -> None:
    """The training loop finds the convolutions before BatchNorm in a network with other stages, too."""
    adapted = adapt("resnet18", cut=1, insert=1)
    images = random_images()
    wanted = logits(adapted, images)
    with folded(adapted.model):
        assert "forward" in vars(adapted.model.get_submodule("layer1.0.conv1"))
        assert "forward" in vars(adapted.model.get_submodule("new1.conv1"))
        torch.testing.assert_close(logits(adapted, images), wanted, atol=1e-4, rtol=1e-4)


def test_the_seed_decides_new_stages() -> None:
    """The same seed draws the same stages and head, another seed others."""
    first, again, other = (adapt("vit_b_16", insert=1, seed=seed).model.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())
    assert not torch.equal(first["new1.qkv.weight"], other["new1.qkv.weight"])
    assert not torch.equal(first["head.1.weight"], other["head.1.weight"])


class CustomNet(nn.Module):
    """A network of one's own: a stem, two stages that keep the channels last, and a head with a norm of its own."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, stride=4)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.head = nn.ModuleDict({"norm": nn.LayerNorm(width), "fc": nn.Linear(width, 10)})

    def body(self, images: Tensor) -> Tensor:
        """Return maps, shape (batch, height, width, channels)."""
        maps: Tensor = self.second(self.first(self.stem(images).permute(0, 2, 3, 1)))
        return maps

    def forward(self, images: Tensor, scale: float | None = None) -> Tensor:
        """Return logits."""
        if images.ndim == 3 or not (images.shape[1] == self.stem.in_channels and images.shape[2] >= 4):
            raise ValueError("not a batch of images")
        maps = self.body(images) if scale is None else self.body(images) * scale
        logits: Tensor = self.head["fc"](self.head["norm"](maps.mean((1, 2))))
        return logits


class Tokens(CustomNet):
    """Takes the average over all tokens but a first one."""

    def body(self, images: Tensor) -> Tensor:
        """Return tokens but the first, with a dimension more."""
        tokens: Tensor = self.second(self.first(self.stem(images).flatten(2).transpose(1, 2)))
        return tokens[:, 1:, None]


class OfSquares(CustomNet):
    """Takes square images alone."""

    def body(self, images: Tensor) -> Tensor:
        """Return maps with the channels first."""
        if images.shape[2] != images.shape[3]:
            raise ValueError("not square")
        maps: Tensor = self.second(self.first(self.stem(images).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return maps

    def forward(self, images: Tensor, scale: float | None = None) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head["fc"](self.head["norm"](self.body(images).mean((2, 3))))
        return logits


class Dependent(CustomNet):
    """Decides by the pixels which way to go."""

    def body(self, images: Tensor) -> Tensor:
        """Return maps, shape (batch, height, width, channels)."""
        return super().body(images if images.mean() > 0 else -images)


def described(kind: type[CustomNet]) -> Architecture:
    """Return the description of a network of one's own."""
    parts = [
        Part("stem", ("stem",)), Part("stage1", ("first",)), Part("stage2", ("second", "head.norm")),
        Part("head", ("head.fc",)),
    ]  # fmt: skip
    return Architecture(
        "my:net",
        "head.fc",
        "stem",
        (),
        0.0,
        (0.5,) * 3,
        (0.25,) * 3,
        SIZE,
        4,
        None,
        "",
        lambda _: kind(),
        lambda _: parts,
    )


def adapt_custom(kind: type[CustomNet], **settings: object) -> Adapted:
    """Return a network of one's own with random weights, adapted as a strategy asks for."""
    return surgery.adapt(described(kind), None, SIZE, 2, 3, strategy(**settings))


def test_ones_own_network_can_be_cut() -> None:
    """With conditions on shapes, other arguments, the channels last, and maps that are as deep as they are wide."""
    adapted = adapt_custom(CustomNet, cut=1, insert=1)
    model = adapted.model
    images = adapted.normalisation(random_images())
    wanted = model.get_submodule("first")(model.get_submodule("stem")(images).permute(0, 2, 3, 1))
    assert wanted.shape == (2, 16, 16, 16), "nothing but a wider image tells where the channels are"
    torch.testing.assert_close(features_of(adapted, random_images()), wanted.mean((1, 2)))
    assert adapted.head == "head"
    with pytest.raises(UserError, match="the 2 stages of my:net"):
        adapt_custom(CustomNet, cut=3)


def test_a_norm_beside_the_old_head_keeps_its_name() -> None:
    """The new head then has another name than the module that the norm is in."""
    adapted = adapt_custom(CustomNet, insert=1)
    assert "head.norm.weight" in adapted.model.state_dict()
    assert adapted.head == "head_"
    assert_every_tensor_has_one_part(adapted)
    assert logits(adapted, random_images()).shape == (2, 2)


def test_the_tokens_that_the_old_classifier_reads_are_averaged() -> None:
    """Here all but the first."""
    adapted = adapt_custom(Tokens, cut=1)
    images = adapted.normalisation(random_images())
    stem, first = (adapted.model.get_submodule(name) for name in ("stem", "first"))
    tokens = first(stem(images).flatten(2).transpose(1, 2))
    torch.testing.assert_close(features_of(adapted, random_images()), tokens[:, 1:].mean(1))


def test_a_forward_pass_that_cannot_be_recorded_is_refused() -> None:
    """The message names the network and both settings, in one line."""
    with pytest.raises(UserError, match=r"'cut' and 'insert' can't take my:net apart: .*can't be traced") as error:
        adapt_custom(Dependent, cut=1)
    assert "\n" not in str(error.value)


def test_a_network_that_takes_square_images_alone_has_its_channels_first() -> None:
    """Where nothing tells the layout, it is the usual one."""
    adapted = adapt_custom(OfSquares, insert=1)
    assert logits(adapted, random_images()).shape == (2, 2)


def test_slim_swins_maps_are_as_deep_as_wide() -> None:
    """The case that only a wider image decides comes up in a real family, too."""
    adapted = adapt("swin_t", cut=3, insert=1)
    maps = output_of(adapt("swin_t"), "features.1", random_images())
    assert len(set(maps.shape[1:])) == 1
    torch.testing.assert_close(features_of(adapted, random_images()), maps.mean((1, 2)), atol=1e-4, rtol=1e-4)
    assert slim.find("swin_t").name == "swin_t"
