"""First layers for another number of channels than that of the pretraining."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tasks.errors import UserError
from tasks.params import StemParams
from tasks.strategies.heads import set_module

ALIKE = 1e-3
Init = Literal["sum", "repeat", "zero"]


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


def replace_stem(
    model: nn.Module, name: str, normalisation: Normalisation, channels: int, settings: StemParams
) -> tuple[Normalisation, bool]:
    """Make a network's first layer take another number of channels, if that differs.

    Args:
        model: the network, changed in place.
        name: of the convolution that meets the image.
        normalisation: input statistics of the pretraining.
        channels: of the images, 1 or more.
        settings: how the new layer starts.

    Returns:
        The input statistics of the new layer, and whether it computes something else than the old one did for the
        same images.

    Raises:
        UserError: no channels, or a layer or a start that doesn't go with their number.
    """
    old = model.get_submodule(name)
    if not isinstance(old, nn.Conv2d):
        raise UserError(
            f"params.yaml: backbone.name: the network's input layer '{name}' is a {type(old).__name__}, not a Conv2d"
        )
    if channels < 1:
        raise UserError(
            f"params.yaml: data.channels: the input layer '{name}' needs images of 1 channel or more, not {channels}"
        )
    if channels == old.in_channels:
        return normalisation, False
    if old.groups != 1:
        raise UserError(
            f"params.yaml: data.channels: the input layer '{name}' works in {old.groups} groups, which only images of "
            f"{old.in_channels} channels fill, not of {channels}"
        )
    init = _chosen(settings, old.in_channels, channels)
    new, statistics = {"sum": sum_kernels, "repeat": repeat_kernels, "zero": pad_kernels}[init](
        old, normalisation, channels
    )
    set_module(model, name, new)
    exact = channels == 1 and init == "sum" and _alike_on_grey(old, normalisation, new, statistics)
    return statistics, not exact


def sum_kernels(old: nn.Conv2d, normalisation: Normalisation, channels: int) -> tuple[nn.Conv2d, Normalisation]:
    """Return a layer that answers equal channels as the old one does.

    Each channel gets the kernels' sum, each weighed by its share of the old normalisation, divided by the number of
    channels; what the old channel means leave over becomes a bias. Exact wherever the kernel doesn't reach into the
    padding.
    """
    old_mean, old_std = (torch.tensor(values).view(1, -1, 1, 1) for values in (normalisation.mean, normalisation.std))
    mean, std = _mean(normalisation.mean), _mean(normalisation.std)
    with torch.no_grad():
        kernel = (old.weight * (std / old_std)).sum(1, keepdim=True)
        left_over = (old.weight * ((mean - old_mean) / old_std)).sum((1, 2, 3))
        bias = left_over if old.bias is None else old.bias + left_over
    new = _with_weights(old, kernel.repeat(1, channels, 1, 1) / channels, bias)
    return new, Normalisation((mean,) * channels, (std,) * channels)


def repeat_kernels(old: nn.Conv2d, normalisation: Normalisation, channels: int) -> tuple[nn.Conv2d, Normalisation]:
    """Return a layer that has the old kernels in turn, scaled so that its answers keep their size.

    As timm's ``adapt_input_conv`` does. A channel's input statistics are those of its kernel.
    """
    turns = [channel % old.in_channels for channel in range(channels)]
    new = _with_weights(old, old.weight[:, turns] * (old.in_channels / channels), old.bias)
    statistics = ([values[turn] for turn in turns] for values in (normalisation.mean, normalisation.std))
    return new, Normalisation(*map(tuple, statistics))


def pad_kernels(old: nn.Conv2d, normalisation: Normalisation, channels: int) -> tuple[nn.Conv2d, Normalisation]:
    """Return a layer that has the old kernels for the first channels and ignores the others, to begin with."""
    more = channels - old.in_channels
    kernel = torch.cat([old.weight, old.weight.new_zeros(old.out_channels, more, *old.kernel_size)], 1)
    mean, std = normalisation.mean, normalisation.std
    return _with_weights(old, kernel, old.bias), Normalisation(mean + (_mean(mean),) * more, std + (_mean(std),) * more)


def _chosen(settings: StemParams, before: int, channels: int) -> Init:
    if settings.init == "auto":
        return "sum" if channels == 1 else "zero" if channels > max(before, 3) else "repeat"
    if settings.init == "zero" and channels < before:
        raise UserError(
            f"params.yaml: 'stem: {{init: zero}}' needs images of more than {before} channels, these have {channels}: "
            "choose auto, sum or repeat"
        )
    return settings.init


def _with_weights(old: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """Return a layer of the same class and geometry."""
    new = copy.deepcopy(old)
    new.in_channels = weight.shape[1]
    new.weight = nn.Parameter(weight.detach().clone())
    new.bias = None if bias is None else nn.Parameter(bias.detach().clone())
    return new


def _alike_on_grey(old: nn.Conv2d, before: Normalisation, new: nn.Conv2d, after: Normalisation) -> bool:
    """Compare both layers' answers to a grey image; a layer that rescales its weights may answer differently."""
    side = 8 * max(*old.kernel_size, *old.stride)
    grey = torch.linspace(0, 255, side * side).sin().add(1).mul(127.5).byte().view(1, 1, side, side)
    with torch.no_grad():
        wanted, answer = old(before(grey.expand(-1, old.in_channels, -1, -1))), new(after(grey))
    inside = (..., slice(3, -3), slice(3, -3))
    return torch.allclose(answer[inside], wanted[inside], atol=ALIKE * wanted.abs().amax().item(), rtol=0)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
