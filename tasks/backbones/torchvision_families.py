"""What each torchvision classification family calls its stem, its stages and its classifier."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn
from torchvision import models

from tasks.backbones.architecture import Part, Recipe
from tasks.backbones.division import divide, tensor_names
from tasks.backbones.tracing import has_state
from tasks.errors import UserError, nearest


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


def parts_of(name: str, model: nn.Module) -> list[Part]:
    """Return stem, ``stage1`` … ``stageN``, ``aux`` where there are auxiliary classifiers, and head of a network.

    Modules of a plain sequence are joined to a stage until the resolution falls. A layer that stands between the last
    stage and the head and has weights (a norm) belongs to the last stage.
    """
    family = family_of(name)
    stages = list(_stages(family, model))
    listed = [Part("stem", family.stem), *(Part(f"stage{i}", s) for i, s in enumerate(stages, 1))]
    listed += [Part("aux", tuple(last.partition(".")[0] for last in family.auxiliary))] if family.auxiliary else []
    listed.append(Part("head", (family.head,)))
    owners = {
        tensor: next((index for index, part in enumerate(listed) if part.owns(tensor)), len(stages))
        for tensor in tensor_names(model)
    }
    return divide(model, [part.name for part in listed], owners)


def _stages(family: Family, model: nn.Module) -> Iterator[tuple[str, ...]]:
    stem = Part("stem", family.stem)
    for entry in family.trunk:
        if not entry.endswith(".*"):
            yield (entry,)
            continue
        container = entry.removesuffix(".*")
        children = {f"{container}.{name}": child for name, child in model.get_submodule(container).named_children()}
        behind_stem = {name: child for name, child in children.items() if not stem.owns(name)}
        if family.blocks:
            yield from ((name,) for name in behind_stem)
        else:
            yield from _by_resolution(behind_stem)


def _by_resolution(children: dict[str, nn.Module]) -> Iterator[tuple[str, ...]]:
    stages: list[tuple[str, ...]] = [()]
    for name, child in children.items():
        if _downsamples(child) and any(has_state(children[n]) for n in stages[-1]):
            stages.append(())
        stages[-1] += (name,)
    if not any(has_state(children[n]) for n in stages[-1]):  # a last pooling layer is no stage of its own
        stages[-2:] = [stages[-2] + stages[-1]]
    yield from stages


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
