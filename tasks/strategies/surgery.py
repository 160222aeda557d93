"""Changes to a pretrained network: another head, another number of input channels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tasks.backbones import zoo
from tasks.backbones.weights import WeightsRecord
from tasks.params import HeadParams


@dataclass(frozen=True)
class Normalisation:
    """Input statistics a channel, for pixels in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Return ``images`` (uint8, batch x channels x height x width) as normalised float32."""
        shape = (1, -1, 1, 1)
        mean = torch.tensor(self.mean, device=images.device).view(shape) * 255
        std = torch.tensor(self.std, device=images.device).view(shape) * 255
        return (images.float() - mean) / std


@dataclass(frozen=True)
class Adapted:
    """A network made for the data at hand.

    Attributes:
        model: takes normalised images of ``channels`` channels, answers logits of shape (batch, classes).
        parts: stem, stages and head, from the image to the logits.
        head: the name of the module whose input are the features of the frozen network, when only the head trains.
        normalisation: input statistics of the adapted stem.
    """

    model: nn.Module
    parts: tuple[zoo.Part, ...]
    head: str
    normalisation: Normalisation


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


def adapt(
    state: dict[str, Tensor] | None,
    record: WeightsRecord,
    classes: int,
    channels: int,
    head: HeadParams,
    seed: int,
) -> Adapted:
    """Build a network, load its weights, and replace its head and, where the channels differ, its first layer.

    Args:
        state: pretrained weights; ``None`` keeps random ones.
        record: which network, and its pretraining's input statistics.
        classes: number of classes, 2 or more.
        channels: 1 or 3.
        head: what replaces the classifier.
        seed: of every weight that is drawn.
    """
    torch.manual_seed(seed)
    family = zoo.family_of(record.name)
    model = zoo.build(record.name, record.size)
    if state is not None:
        model.load_state_dict(state)
    parts = zoo.parts(record.name, model)
    normalisation = Normalisation(record.mean, record.std)
    if channels == 1:
        layer, normalisation = fold_to_grey(_convolution(model, family.input_layer), normalisation)
        _set(model, family.input_layer, layer)
    name = family.head
    old = model.get_submodule(name)
    if head.kind == "linear":
        _set(model, name, _layer_like(old, _inputs(old), classes))
    else:
        width = _outputs(old)
        new = nn.Sequential(_layer_like(old, width, head.hidden), nn.ReLU(), _layer_like(old, head.hidden, classes))
        _set(model, name, LayersOnTop(old, new))
        parts = _with_old_head_in_last_stage(parts, name)
        name = f"{name}.new"
    return Adapted(model, tuple(parts), name, normalisation)


def fold_to_grey(layer: nn.Conv2d, normalisation: Normalisation) -> tuple[nn.Conv2d, Normalisation]:
    """Return a first layer for one channel that answers a grey image as the old one answers it in three channels.

    The kernels are summed over the channels, each weighed by its share of the old normalisation, and what the old
    channel means leave over becomes a bias. Exact wherever the kernel doesn't reach into the padding.
    """
    mean, std = sum(normalisation.mean) / 3, sum(normalisation.std) / 3
    old_mean, old_std = torch.tensor(normalisation.mean), torch.tensor(normalisation.std)
    grey = nn.Conv2d(
        1, layer.out_channels, _pair(layer.kernel_size), _pair(layer.stride), _padding(layer), _pair(layer.dilation)
    )
    with torch.no_grad():
        grey.weight.copy_((layer.weight * (std / old_std).view(1, 3, 1, 1)).sum(1, keepdim=True))
        left_over = (layer.weight * ((mean - old_mean) / old_std).view(1, 3, 1, 1)).sum((1, 2, 3))
        assert grey.bias is not None  # noqa: S101
        grey.bias.copy_(left_over if layer.bias is None else layer.bias + left_over)
    return grey, replace(normalisation, mean=(mean,), std=(std,))


def _pair(value: Sequence[int]) -> tuple[int, int]:
    first, second = value
    return first, second


def _padding(layer: nn.Conv2d) -> tuple[int, int] | str:
    return layer.padding if isinstance(layer.padding, str) else _pair(layer.padding)


def _convolution(model: nn.Module, name: str) -> nn.Conv2d:
    layer = model.get_submodule(name)
    if not isinstance(layer, nn.Conv2d):
        raise TypeError(f"the input layer {name} is a {type(layer).__name__}, not a convolution")
    return layer


def _set(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def _layer_like(old: nn.Module, inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 1) if isinstance(old, nn.Conv2d) else nn.Linear(inputs, outputs)


def _inputs(layer: nn.Module) -> int:
    return int(layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features)  # type: ignore[arg-type]


def _outputs(layer: nn.Module) -> int:
    return int(layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features)  # type: ignore[arg-type]


def _with_old_head_in_last_stage(parts: Sequence[zoo.Part], head: str) -> list[zoo.Part]:
    *front, last, old_head = parts
    beside = tuple(prefix for prefix in old_head.prefixes if prefix != head)
    last = replace(last, prefixes=(*last.prefixes, f"{head}.old", *beside))
    return [*front, last, replace(old_head, prefixes=(f"{head}.new",))]
