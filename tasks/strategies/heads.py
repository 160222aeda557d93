"""New heads: what answers for the new classes in place of a network's last layer."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tasks.backbones.architecture import Part
from tasks.errors import UserError
from tasks.params import HeadParams

COSINE_SCALE = 10.0


class CosineLinear(nn.Linear):
    """Class scores that are cosines of the angle between features and class weights, times a learned scale.

    Gidaris and Komodakis, Dynamic Few-Shot Visual Learning without Forgetting (CVPR 2018).
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(inputs, classes, bias=False)
        self.scale = nn.Parameter(torch.tensor(COSINE_SCALE))

    def forward(self, features: Tensor) -> Tensor:
        """Return scores of shape (…, classes) for features of shape (…, inputs)."""
        return self.scale * F.linear(F.normalize(features, dim=-1), F.normalize(self.weight, dim=-1))


class CosineConv2d(nn.Conv2d):
    """The same at every position of a map, for networks that classify by a 1x1 convolution."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(inputs, classes, 1, bias=False)
        self.scale = nn.Parameter(torch.tensor(COSINE_SCALE))

    def forward(self, features: Tensor) -> Tensor:
        """Return scores of shape (batch, classes, height, width) for features of shape (batch, inputs, …)."""
        return self.scale * F.conv2d(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))


class LayersOnTop(nn.Module):
    """The old classifier, kept whole, and two new layers that turn its logits into those of the new classes."""

    def __init__(self, old: nn.Module, new: nn.Module) -> None:
        super().__init__()
        self.old = old
        self.new = new

    def forward(self, features: Tensor) -> Tensor:
        """Return logits for features of any shape that the old classifier takes."""
        logits: Tensor = self.new(self.old(features))
        return logits


def replace_head(
    model: nn.Module, parts: Sequence[Part], name: str, classes: int, settings: HeadParams
) -> tuple[list[Part], str]:
    """Put a new head in the place of a network's last layer.

    Args:
        model: the network, changed in place.
        parts: of the network.
        name: of the last layer, a linear layer or a 1x1 convolution, which the new layers are, too.
        classes: number of classes, 2 or more.
        settings: which head.

    Returns:
        The parts, and the name of the module that holds all new layers and nothing else. With ``on_top`` the old
        classifier belongs to the last stage.

    Raises:
        UserError: the last layer is of another kind.
    """
    old = model.get_submodule(name)
    inputs, outputs, convolves = _shape(old, name)
    if settings.kind != "on_top":
        set_module(model, name, _joined(_layers(inputs, classes, settings, convolves)))
        return list(parts), name
    set_module(model, name, LayersOnTop(old, nn.Sequential(*_layers(outputs, classes, settings, convolves))))
    return _with_old_head_in_last_stage(parts, name), f"{name}.new"


def replace_auxiliary(model: nn.Module, names: Sequence[str], classes: int) -> None:
    """Replace the last layers of auxiliary classifiers by linear ones for the new classes."""
    for name in names:
        inputs, _, convolves = _shape(model.get_submodule(name), name)
        set_module(model, name, _layer(inputs, classes, convolves))


def head_on_features(width: int, classes: int, settings: HeadParams) -> nn.Sequential:
    """Return a head for pooled features of shape (batch, width), which it normalises first."""
    return nn.Sequential(nn.LayerNorm(width), *_layers(width, classes, settings, convolves=False))


def set_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the one that has a (dotted) name."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def _layers(inputs: int, classes: int, settings: HeadParams, convolves: bool) -> list[nn.Module]:
    dropout = [nn.Dropout(settings.dropout)] if settings.dropout else []
    if settings.kind == "cosine":
        return [*dropout, CosineConv2d(inputs, classes) if convolves else CosineLinear(inputs, classes)]
    if settings.kind == "linear":
        return [*dropout, _layer(inputs, classes, convolves)]
    hidden = _layer(inputs, settings.hidden, convolves)
    return [hidden, nn.ReLU(), *dropout, _layer(settings.hidden, classes, convolves)]


def _layer(inputs: int, outputs: int, convolves: bool) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 1) if convolves else nn.Linear(inputs, outputs)


def _joined(layers: list[nn.Module]) -> nn.Module:
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def _shape(layer: nn.Module, name: str) -> tuple[int, int, bool]:
    """Return the inputs and outputs of a classifier's last layer, and whether it is a convolution."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features, False
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
        return layer.in_channels, layer.out_channels, True
    raise UserError(
        f"params.yaml: backbone.name: the network's last layer '{name}' is a {type(layer).__name__}, which can't be "
        "replaced: it must be a Linear or a 1x1 Conv2d"
    )


def _with_old_head_in_last_stage(parts: Sequence[Part], head: str) -> list[Part]:
    last = max(place for place, part in enumerate(parts) if part.name.startswith("stage"))
    beside = tuple(prefix for prefix in parts[-1].prefixes if prefix != head)
    moved = list(parts)
    moved[last] = replace(parts[last], prefixes=(*parts[last].prefixes, f"{head}.old", *beside))
    moved[-1] = replace(parts[-1], prefixes=(f"{head}.new",))
    return moved
