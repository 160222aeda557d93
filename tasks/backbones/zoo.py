"""What each torchvision classification family calls its stem, its stages and its classifier."""

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlparse

import torchvision
from torch import nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from tasks.backbones.architecture import Architecture, Part, Recipe
from tasks.backbones.division import divide, tensor_names
from tasks.backbones.fitting import Converted, State
from tasks.errors import UserError, nearest

# DenseNet's files number the layers of a block as norm.1 where the code says norm1.
DENSENET_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")
POSITIONS = "encoder.pos_embedding"
LICENCE = "BSD-3-Clause (torchvision); trained on ImageNet-1k, whose images are for non-commercial research"


@dataclass(frozen=True)
class Family:
    """The names of a family's parts.

    Attributes:
        pattern: matches the model names of the family.
        stem: prefixes of the modules and parameters that meet the image first.
        trunk: the modules between stem and classifier, in order; a name that ends in ``.*`` stands for all children
            of that module, which are joined to stages of one resolution unless ``blocks`` is set.
        head: the classifier's last layer, which is replaced.
        recipe: how its weights were trained, by torchvision's references/classification; for families that were ported
            from elsewhere, by their paper.
        input_layer: the convolution that meets the image.
        blocks: every child named by ``.*`` is a stage of its own.
        auxiliary: the last layers of auxiliary classifiers.
        auxiliary_weight: of their losses: GoogLeNet's from its paper (Szegedy et al., CVPR 2015), Inception v3's from
            TF-Slim, where its weights were trained.
        smallest: the least side in pixels that it takes in evaluation and in training, where that was measured to be
            another than torchvision's ``min_size``.
        options: arguments of the builder.
        mean, std: input statistics where they differ from ImageNet's.
    """

    pattern: str
    stem: tuple[str, ...]
    trunk: tuple[str, ...]
    head: str
    recipe: Recipe
    input_layer: str
    blocks: bool = False
    auxiliary: tuple[str, ...] = ()
    auxiliary_weight: float = 0.0
    smallest: int | None = None
    options: tuple[tuple[str, bool], ...] = ()
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


_SGD = Recipe("sgd", 0.1, 256)
_SGD_LOW = Recipe("sgd", 0.01, 256)
_SGD_LARGE = Recipe("sgd", 0.5, 1024)
_ADAMW = Recipe("adamw", 1e-3, 1024)
_RMSPROP = Recipe("rmsprop", 0.064, 1024)
_HALF = (0.5, 0.5, 0.5)

FAMILIES = (
    Family(r"alexnet", ("features.0",), ("features.*", "classifier.1", "classifier.4"), "classifier.6", _SGD_LOW,
           "features.0"),
    Family(r"convnext_\w+", ("features.0",), ("features.*",), "classifier.2", _ADAMW, "features.0.0"),
    Family(r"densenet\d+", ("features.conv0", "features.norm0"), ("features.*",), "classifier", _SGD,
           "features.conv0"),
    Family(r"efficientnet_b\d", ("features.0",), ("features.*",), "classifier.1", Recipe("rmsprop", 0.256, 4096),
           "features.0.0"),
    Family(r"efficientnet_v2_[sm]", ("features.0",), ("features.*",), "classifier.1", _SGD_LARGE, "features.0.0",
           smallest=1),
    Family(r"efficientnet_v2_l", ("features.0",), ("features.*",), "classifier.1", _SGD_LARGE, "features.0.0",
           smallest=1, mean=_HALF, std=_HALF),
    Family(r"googlenet", ("conv1",), ("conv2", "conv3", "inception3a", "inception3b", "inception4a", "inception4b",
           "inception4c", "inception4d", "inception4e", "inception5a", "inception5b"), "fc", Recipe("sgd", 0.01, 256),
           "conv1.conv", auxiliary=("aux1.fc2", "aux2.fc2"), auxiliary_weight=0.3,
           options=(("aux_logits", True), ("init_weights", False)), mean=_HALF, std=_HALF),
    Family(r"inception_v3", ("Conv2d_1a_3x3",), ("Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3",
           "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7a",
           "Mixed_7b", "Mixed_7c"), "fc", Recipe("rmsprop", 0.045, 32), "Conv2d_1a_3x3.conv",
           auxiliary=("AuxLogits.fc",), auxiliary_weight=0.4, smallest=299,  # 75 without the auxiliary classifier
           options=(("aux_logits", True), ("init_weights", False)), mean=_HALF, std=_HALF),
    Family(r"maxvit_t", ("stem",), ("blocks.*",), "classifier.5", Recipe("adamw", 3e-3, 4096), "stem.0.0",
           blocks=True),
    Family(r"mnasnet\d_\d+", ("layers.0", "layers.1"), ("layers.*",), "classifier.1", Recipe("sgd", 0.5, 1024),
           "layers.0"),
    Family(r"mobilenet_v2", ("features.0",), ("features.*",), "classifier.1", Recipe("sgd", 0.045, 256),
           "features.0.0"),
    Family(r"mobilenet_v3_\w+", ("features.0",), ("features.*", "classifier.0"), "classifier.3", _RMSPROP,
           "features.0.0"),
    Family(r"regnet_[xy]_\w+", ("stem",), ("trunk_output.*",), "fc", Recipe("sgd", 0.8, 1024), "stem.0", blocks=True),
    Family(r"(wide_)?resne(x)?t\d+\w*", ("conv1", "bn1"), ("layer1", "layer2", "layer3", "layer4"), "fc", _SGD,
           "conv1"),
    Family(r"shufflenet_v2_\w+", ("conv1",), ("stage2", "stage3", "stage4", "conv5"), "fc",
           Recipe("sgd", 0.5, 1024), "conv1.0"),
    Family(r"squeezenet1_\d", ("features.0",), ("features.*",), "classifier.1", Recipe("sgd", 0.04, 512),
           "features.0"),
    Family(r"swin(_v2)?_\w", ("features.0",), ("features.*",), "head", _ADAMW, "features.0.0",
           smallest=4),
    Family(r"vgg\d+(_bn)?", ("features.0",), ("features.*", "classifier.0", "classifier.3"), "classifier.6", _SGD_LOW,
           "features.0"),
    Family(r"vit_\w_\d+", ("conv_proj", "class_token", "encoder.pos_embedding"), ("encoder.layers.*",),
           "heads.head", Recipe("adamw", 3e-3, 4096), "conv_proj", blocks=True),
)  # fmt: skip


def model_names() -> list[str]:
    """Return the names of every torchvision classification model."""
    names: list[str] = models.list_models(module=models)
    return names


def family_of(name: str) -> Family:
    """Return the family of a model.

    Raises:
        UserError: torchvision has no classification model of that name.
    """
    if name in model_names():
        for family in FAMILIES:
            if re.fullmatch(family.pattern, name):
                return family
    raise UserError(f"params.yaml: backbone.name '{name}' is not a torchvision classification model"
                    f"{nearest(name, model_names())}")  # fmt: skip


def find(name: str) -> Architecture:
    """Return the description of a torchvision classification model.

    Raises:
        UserError: torchvision has none of that name.
    """
    family = family_of(name)
    return Architecture(
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
        split=partial(parts, name),
    )


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


def notes_on(entry: torchvision.models.WeightsEnum) -> tuple[str, ...]:
    """Return what torchvision says about an entry's weights that a user should know."""
    untrained = entry is models.GoogLeNet_Weights.IMAGENET1K_V1
    return ("the auxiliary classifiers in torchvision's file are not pretrained",) if untrained else ()


def file_names(name: str) -> list[str]:
    """Return the names of the files that torchvision keeps a model's weights in."""
    return [Path(urlparse(entry.url).path).name for entry in models.get_model_weights(name)]


def convert(name: str, state: State, size: int) -> Converted:
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


def default_weights(name: str, weights: str) -> torchvision.models.WeightsEnum:
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


def parts(name: str, model: nn.Module) -> list[Part]:
    """Return stem, ``stage1`` … ``stageN``, ``aux`` where there are auxiliary classifiers, and head of a network.

    Modules of a plain sequence are joined to a stage until the resolution falls. A layer that stands between the last
    stage and the head and has weights (a norm) belongs to the last stage.
    """
    family = family_of(name)
    stages = list(_stages(family, model))
    found = [Part("stem", family.stem), *(Part(f"stage{i}", s) for i, s in enumerate(stages, 1))]
    found += [Part("aux", tuple(last.partition(".")[0] for last in family.auxiliary))] if family.auxiliary else []
    found.append(Part("head", (family.head,)))
    owners = {
        tensor: next((index for index, part in enumerate(found) if part.owns(tensor)), len(stages))
        for tensor in tensor_names(model)
    }
    return divide(model, [part.name for part in found], owners)


def _stages(family: Family, model: nn.Module) -> Iterator[tuple[str, ...]]:
    stem = Part("stem", family.stem)
    for entry in family.trunk:
        if not entry.endswith(".*"):
            yield (entry,)
            continue
        container = entry.removesuffix(".*")
        children = {f"{container}.{name}": child for name, child in model.get_submodule(container).named_children()}
        own = {name: child for name, child in children.items() if not stem.owns(name)}
        if family.blocks:
            yield from ((name,) for name in own)
        else:
            yield from _by_resolution(own)


def _by_resolution(children: dict[str, nn.Module]) -> Iterator[tuple[str, ...]]:
    stages: list[tuple[str, ...]] = [()]
    for name, child in children.items():
        if _downsamples(child) and any(_has_state(children[n]) for n in stages[-1]):
            stages.append(())
        stages[-1] += (name,)
    if not any(_has_state(children[n]) for n in stages[-1]):  # a last pooling layer is no stage of its own
        stages[-2:] = [stages[-2] + stages[-1]]
    yield from stages


def _has_state(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _downsamples(module: nn.Module) -> bool:
    def strided(stride: int | tuple[int, ...]) -> bool:
        return (stride if isinstance(stride, int) else math.prod(stride)) > 1

    kinds: tuple[type[nn.Module], ...] = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
    merging: tuple[Callable[..., nn.Module], ...] = (
        models.swin_transformer.PatchMerging,
        models.swin_transformer.PatchMergingV2,
    )
    return any(
        (isinstance(m, kinds) and strided(m.stride)) or isinstance(m, merging)  # type: ignore[arg-type]
        for m in module.modules()
    )
