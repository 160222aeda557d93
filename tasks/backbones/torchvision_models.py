"""The classification models of torchvision, and the weights that it has for them."""

import re
from collections import OrderedDict
from functools import partial
from pathlib import Path
from urllib.parse import urlparse

from torch import nn
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.models.vision_transformer import interpolate_embeddings

from tasks.backbones import downloads
from tasks.backbones.architecture import Architecture, State
from tasks.backbones.key_matching import Converted
from tasks.backbones.library import WeightsFile
from tasks.backbones.stated_parts import with_parts
from tasks.backbones.torchvision_families import family_of, parts_of
from tasks.errors import UserError, nearest
from tasks.params import BackboneParams, PartsParams

# DenseNet's files number the layers of a block as norm.1 where the code says norm1.
DENSENET_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")
POSITIONS = "encoder.pos_embedding"
LICENCE = "BSD-3-Clause (torchvision); trained on ImageNet-1k, whose images are for non-commercial research"


def find(name: str, parts: PartsParams | None = None) -> Architecture:
    """Return the description of a torchvision classification model.

    Args:
        name: of the model.
        parts: what its layers are for, instead of what is known of its family.

    Raises:
        UserError: torchvision has none of that name.
    """
    family = family_of(name)
    architecture = Architecture(
        name=name,
        head=family.head,
        input_layer=family.input_layer,
        auxiliary=family.auxiliary,
        auxiliary_weight=family.auxiliary_weight,
        mean=family.mean,
        std=family.std,
        size=int(models.get_model_weights(name).DEFAULT.transforms().crop_size[0]),
        smallest=smallest_size(name),
        recipe=family.recipe,
        licence=LICENCE,
        build=partial(build, name),
        split=partial(parts_of, name),
    )
    return with_parts(architecture, parts)


def build(name: str, size: int | None = None) -> nn.Module:
    """Return the architecture with random weights and its 1000-class head.

    Args:
        name: a torchvision classification model.
        size: working size in pixels; by default the one that the architecture was made for.

    Raises:
        UserError: no such model, or one that doesn't take images of that size.
    """
    options: dict[str, object] = dict(family_of(name).options)
    if size is not None:
        _check_size(name, size)
        if name.startswith("vit_"):
            options["image_size"] = size
        if name.startswith("maxvit_"):
            options["input_size"] = (size, size)
    model: nn.Module = models.get_model(name, weights=None, **options)
    return model


def patch_size(name: str) -> int:
    """Return the height and width in pixels of the patches that a ViT cuts an image into."""
    return int(name.rpartition("_")[2])


def smallest_size(name: str) -> int:
    """Return the least working size that a model takes, in evaluation and in training."""
    stated = max(models.get_model_weights(name).DEFAULT.meta["min_size"])
    return _multiple(name) or family_of(name).smallest or stated


def default_weights(name: str, weights: str) -> WeightsEnum:
    """Return torchvision's entry for a model's weights by name.

    Raises:
        UserError: the model has no weights of that name.
    """
    family_of(name)
    # An entry without categories lacks the classifier and has input statistics of its own (VGG16's features).
    known = {entry.name: entry for entry in models.get_model_weights(name) if entry.meta["categories"]}
    if weights not in known:
        raise UserError(
            f"params.yaml: backbone.weights '{weights}' is neither a file nor weights of {name}"
            f"{nearest(weights, [*known, 'none'])}"
        )
    return known[weights]


def named_weights(params: BackboneParams, architecture: Architecture) -> WeightsFile:
    """Return the verified file of torchvision's weights for a model.

    Raises:
        UserError: the model has no weights of that name.
        UnavailableError: no source has the weights; lists what was tried.
    """
    entry = default_weights(params.name, params.weights)
    untrained = entry is models.GoogLeNet_Weights.IMAGENET1K_V1
    notes = ("the auxiliary classifiers in torchvision's file are not pretrained",) if untrained else ()
    return WeightsFile(*downloads.from_torchvision(entry, params.sha256 or ""), architecture.licence, notes)


def accuracy(params: BackboneParams) -> float | None:
    """Return the accuracy that torchvision states for weights on ImageNet-1k, from 0 to 1; None: it states none."""
    stated = [entry for entry in models.get_model_weights(params.name) if entry.name == params.weights]
    figures = stated[0].meta.get("_metrics", {}).get("ImageNet-1K", {}) if stated else {}
    return float(figures["acc@1"]) / 100 if "acc@1" in figures else None


def known_digest(name: str, file_name: str) -> str:
    """Return the digest that a file must have because it has the name of one of torchvision's for a model."""
    names = [Path(urlparse(entry.url).path).name for entry in models.get_model_weights(name)]
    return downloads.hash_in(file_name) if file_name in names else ""


def convert(name: str, state: State, _: nn.Module, size: int) -> Converted:
    """Return weights of a file under the names and in the shapes of a network for a working size.

    Raises:
        ValueError: the position embeddings are not those of a square of patches.
    """
    notes = []
    renamed = {DENSENET_KEY.sub(r"\1\2", key): value for key, value in state.items()}
    if renamed.keys() != state.keys():
        notes.append("the layers of DenseNet's blocks, which are numbered in the file, were renamed")
    if name.startswith("vit_") and POSITIONS in renamed:
        before = renamed[POSITIONS].shape
        renamed = dict(interpolate_embeddings(size, patch_size(name), OrderedDict(renamed)))
        if renamed[POSITIONS].shape != before:
            notes.append(f"the position embeddings were interpolated from {before[1]} places to {size} pixels")
    may_lack = {
        last.partition(".")[0]: f"the file lacks the auxiliary classifier {last.partition('.')[0]}, which is drawn new"
        for last in family_of(name).auxiliary
    }
    return Converted(renamed, may_lack, tuple(notes))


def _check_size(name: str, size: int) -> None:
    multiple = _multiple(name)
    if multiple and size % multiple:
        raise UserError(
            f"params.yaml: data.size {size} is not a multiple of {multiple}, as {name}'s patches and windows need it"
        )
    if size < smallest_size(name):
        raise UserError(f"params.yaml: data.size {size} is below {smallest_size(name)}, the smallest that {name} takes")


def _multiple(name: str) -> int | None:
    """Return the number that divides all sides in pixels that a network which is made for one size can be made for."""
    if name.startswith("vit_"):
        return patch_size(name)
    # MaxViT halves the image five times and cuts what is left into 7 x 7 windows, whose number its weights fix.
    return 224 if name.startswith("maxvit_") else None
