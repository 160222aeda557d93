"""The zoo: every torchvision classification model falls into parts, from the image to the logits."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision import models

from tasks.backbones import zoo
from tasks.errors import UserError

NAMES = zoo.model_names()
JOINED_BY_RESOLUTION = ["mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "mnasnet0_5",
                        "densenet121", "vgg11", "squeezenet1_1"]  # fmt: skip


class _WithoutStorage(TorchFunctionMode):
    """Weights that have a shape and nothing else, so that the largest networks are built in no time."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


@cache
def skeleton(name: str) -> nn.Module:
    """Return a network without storage for its weights, in evaluation mode."""
    with _WithoutStorage():
        model = zoo.build(name, 224)
    return model.to("meta").eval()


@contextmanager
def watching(model: nn.Module, see: Callable[[str, Any], None]) -> Iterator[None]:
    """Call ``see`` with the name and the output of each module as it runs."""
    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: see(name, output))
        for name, module in model.named_modules()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run(name: str, see: Callable[[str, Any], None]) -> Tensor:
    """Run a network on images without storage and return the logits."""
    model = skeleton(name)
    with watching(model, see), torch.no_grad():
        logits: Tensor = model(torch.empty(2, 3, 224, 224, device="meta"))
    return logits


def state_names(model: nn.Module) -> list[str]:
    """Return the names of all parameters and buffers."""
    return [*dict(model.named_parameters()), *dict(model.named_buffers())]


def test_every_torchvision_classifier_is_listed() -> None:
    """The names are those of torchvision's own weights for ImageNet, none left out."""
    weighted = {
        name
        for name in models.list_models()
        if any(len(entry.meta.get("categories") or ()) == 1000 for entry in models.get_model_weights(name))
    }
    assert {name for name in weighted if not name.startswith("quantized_")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_model_belongs_to_exactly_one_family(name: str) -> None:
    """No model is without a family, and none could be taken for two."""
    matching = [family for family in zoo.FAMILIES if re.fullmatch(family.pattern, name)]
    assert matching == [zoo.family_of(name)]


@pytest.mark.parametrize("name", NAMES)
def test_parts_divide_the_network(name: str) -> None:
    """Every parameter and buffer is in exactly one part, and no part is without parameters."""
    model = skeleton(name)
    parts = zoo.parts(name, model)
    owners = {tensor: [part.name for part in parts if part.owns(tensor)] for tensor in state_names(model)}
    assert {tensor: found for tensor, found in owners.items() if len(found) != 1} == {}
    stages = len(parts) - 2
    assert stages >= 3
    assert [part.name for part in parts] == ["stem", *(f"stage{number}" for number in range(1, stages + 1)), "head"]
    trained = {owners[parameter][0] for parameter, _ in model.named_parameters()}
    assert trained == {part.name for part in parts}


@pytest.mark.parametrize("name", NAMES)
def test_head_is_the_classifier(name: str) -> None:
    """The head has one layer with weights, which answers the 1000 classes; the stem's first layer takes RGB."""
    model = skeleton(name)
    family = zoo.family_of(name)
    parts = zoo.parts(name, model)
    weighted = {tensor.rpartition(".")[0] for tensor in state_names(model) if parts[-1].owns(tensor)}
    assert weighted == {family.head}
    head = model.get_submodule(family.head)
    assert isinstance(head, nn.Linear | nn.Conv2d)
    assert (head.out_features if isinstance(head, nn.Linear) else head.out_channels) == 1000
    first = model.get_submodule(family.input_layer)
    assert isinstance(first, nn.Conv2d)
    assert first.in_channels == 3
    assert parts[0].owns(family.input_layer)


@pytest.mark.parametrize("name", NAMES)
def test_parts_run_in_their_order(name: str) -> None:
    """A forward pass goes through stem, stages and head in this order and never back; the classifier comes last."""
    family = zoo.family_of(name)
    parts = zoo.parts(name, skeleton(name))
    order: list[str] = []
    logits = run(name, lambda module, _: order.append(module))
    assert logits.shape == (2, 1000)
    leaves = [module for module in order if not list(skeleton(name).get_submodule(module).children())]
    weighted = [module for module in leaves if skeleton(name).get_submodule(module).state_dict()]
    assert weighted[0] == family.input_layer
    assert weighted[-1] == family.head
    places = [index for module in leaves for index, part in enumerate(parts) if part.owns(module)]
    assert places == sorted(places)
    assert set(places) == set(range(len(parts)))


@pytest.mark.parametrize("name", JOINED_BY_RESOLUTION)
def test_stages_are_cut_where_the_resolution_falls(name: str) -> None:
    """Each stage of a plain sequence ends at a smaller resolution than the stage before it."""
    parts = zoo.parts(name, skeleton(name))
    last: dict[str, int] = {}

    def see(module: str, output: Any) -> None:
        for part in parts[1:-1]:
            if module in part.prefixes and module.startswith(("features.", "layers.")):
                last[part.name] = output.shape[-1]

    run(name, see)
    sides = list(last.values())
    assert len(sides) >= 3
    assert sides == sorted(set(sides), reverse=True)


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5", "mobilenet_v3_small"])
def test_real_network_answers_logits(name: str) -> None:
    """A network with real, random weights answers finite logits."""
    torch.manual_seed(0)
    model = zoo.build(name).eval()
    with torch.no_grad():
        logits = model(torch.rand(1, 3, 64, 64))
    assert logits.shape == (1, 1000)
    assert logits.isfinite().all()
    assert all(parameter.device.type == "cpu" for parameter in model.parameters())


def test_prefix_is_a_whole_name() -> None:
    """features.1 is not features.10."""
    part = zoo.Part("stage1", ("features.1", "token"))
    assert part.owns("features.1")
    assert part.owns("features.1.conv.weight")
    assert part.owns("token")
    assert not part.owns("features.10.conv.weight")
    assert not part.owns("features")
    assert not part.owns("tokens")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"googlenet", "inception_v3"}])
def test_input_statistics_are_those_of_the_weights(name: str) -> None:
    """Images are normalised as torchvision does for whichever weights can be chosen."""
    family = zoo.family_of(name)
    for entry in models.get_model_weights(name):
        try:
            zoo.default_weights(name, entry.name)
        except UserError:
            continue
        transform = entry.transforms()
        assert (tuple(transform.mean), tuple(transform.std)) == (family.mean, family.std), entry


@pytest.mark.parametrize(("name", "network"), [("googlenet", models.GoogLeNet), ("inception_v3", models.Inception3)])
def test_input_statistics_include_what_the_network_did_itself(name: str, network: Any) -> None:
    """Two networks undo ImageNet's statistics within, when torchvision loads their weights; ours don't have to."""
    assert not skeleton(name).transform_input
    pixels = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    imagenet = models.get_model_weights(name)["IMAGENET1K_V1"].transforms()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (imagenet.mean, imagenet.std))
    within = network._transform_input(_Transforming(), (pixels - mean) / std)
    family = zoo.family_of(name)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (family.mean, family.std))
    assert torch.allclose((pixels - mean) / std, within, atol=1e-5)


class _Transforming:
    transform_input = True


@pytest.mark.parametrize(
    ("name", "meant"),
    [("mobilenetv2", "mobilenet_v2"), ("resnet-50", "resnet50"), ("vit_b16", "vit_b_16"), ("RESNET18", "choose from")],
)
def test_unknown_model_names_the_nearest(name: str, meant: str) -> None:
    """A misspelt name is answered with the nearest, or with all of them."""
    with pytest.raises(UserError, match=rf"backbone\.name '{name}' is not a torchvision .*{meant}"):
        zoo.family_of(name)


@pytest.mark.parametrize("name", ["fcn_resnet50", "raft_small", "quantized_mobilenet_v2", "resnet1000", ""])
def test_other_models_are_no_classifiers(name: str) -> None:
    """Models for other tasks are refused, even where their names look like a family's."""
    with pytest.raises(UserError, match="is not a torchvision classification model"):
        zoo.build(name)


def test_weights_are_found_by_name() -> None:
    """The entry is torchvision's, of that model and that name."""
    assert zoo.default_weights("resnet50", "IMAGENET1K_V2") is models.ResNet50_Weights.IMAGENET1K_V2
    assert zoo.default_weights("mobilenet_v2", "IMAGENET1K_V1") is models.MobileNet_V2_Weights.IMAGENET1K_V1


@pytest.mark.parametrize(
    ("name", "weights", "meant"),
    [
        ("mobilenet_v2", "IMAGENET_V2", "did you mean 'IMAGENET1K_V2'"),
        ("resnet18", "IMAGENET1K_V2", "did you mean 'IMAGENET1K_V1'"),
        ("resnet18", "random", "none"),
        ("vgg16", "IMAGENET1K_FEATURES", "neither a file nor weights of vgg16"),  # its classifier is not a number
    ],
)
def test_unknown_weights_name_the_nearest(name: str, weights: str, meant: str) -> None:
    """Weights that the model lacks, or that lack their classifier, are refused."""
    with pytest.raises(UserError, match=rf"backbone\.weights '{weights}'.*{meant}"):
        zoo.default_weights(name, weights)


def test_transformer_is_built_for_the_working_size() -> None:
    """A ViT has one position embedding for each patch of the working size, and one for its class token."""
    with _WithoutStorage():
        model = zoo.build("vit_b_32", 96)
    assert model.get_parameter("encoder.pos_embedding").shape[1] == 3 * 3 + 1


def test_size_that_patches_do_not_fill_is_refused() -> None:
    """A working size that is no multiple of the patches' is named together with theirs."""
    with pytest.raises(UserError, match=r"data\.size 100 is not a multiple of 16"):
        zoo.build("vit_b_16", 100)
