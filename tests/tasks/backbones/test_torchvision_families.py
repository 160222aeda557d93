"""Every torchvision classification model is of one family, whose names divide it from the image to the logits."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from tasks.backbones.torchvision_families import FAMILIES, family_of, model_names, parts_of
from tasks.backbones.torchvision_models import default_weights
from tasks.errors import UserError
from tests.tasks.backbones.skeletons import images, skeleton

NAMES = model_names()
JOINED_BY_RESOLUTION = ["mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "mnasnet0_5",
                        "densenet121", "vgg11", "squeezenet1_1"]  # fmt: skip


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
    matching = [family for family in FAMILIES if re.fullmatch(family.pattern, name)]
    assert matching == [family_of(name)]


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "mobilenet_v2", "vgg11", "efficientnet_b0"])
def test_dropout_before_the_classifier_belongs_to_the_head(name: str) -> None:
    """What drops the head's inputs is on when the head trains."""
    dropouts = [child for child, module in skeleton(name).named_modules() if isinstance(module, nn.Dropout)]
    assert parts_of(name, skeleton(name))[-1].owns(dropouts[-1])


@pytest.mark.parametrize("name", JOINED_BY_RESOLUTION)
def test_stages_are_cut_where_the_resolution_falls(name: str) -> None:
    """Each stage of a plain sequence ends at a smaller resolution than the stage before it."""
    model, parts = skeleton(name), parts_of(name, skeleton(name))
    last: dict[str, int] = {}

    def see(module: str, output: Any) -> None:
        for part in parts[1:-1]:
            if module in part.prefixes and module.startswith(("features.", "layers.")):
                last[part.name] = output.shape[-1]

    with watching(model, see), torch.no_grad():
        model(images(224))
    sides = list(last.values())
    assert len(sides) >= 3
    assert sides == sorted(set(sides), reverse=True)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"googlenet", "inception_v3"}])
def test_input_statistics_are_those_of_the_weights(name: str) -> None:
    """Images are normalised as torchvision does for whichever weights can be chosen."""
    family = family_of(name)
    for entry in models.get_model_weights(name):
        try:
            default_weights(name, entry.name)
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
    family = family_of(name)
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
        family_of(name)


def test_last_norm_belongs_to_the_last_stage() -> None:
    """A norm between the last block and the head is no stage of its own, in whichever family."""
    for name, norm in (("vit_b_32", "encoder.ln"), ("swin_t", "norm"), ("convnext_tiny", "classifier.0")):
        *_, last, _head = parts_of(name, skeleton(name))
        assert last.owns(norm)
        assert any(last.owns(parameter) for parameter, _ in skeleton(name).named_parameters() if norm not in parameter)
