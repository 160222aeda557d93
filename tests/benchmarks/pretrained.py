"""Whether pretrained weights were put into their network right: by ImageNet's classes, and by statistics of each layer.

``python -m tests.benchmarks.pretrained FOLDER --class daisy --names efficientnet_lite0,mobilenet_v2``. The folder has
photographs of one of ImageNet's classes. Beside a network as it is described, it measures what it would do with other
input statistics, padding or epsilon, so that a mistake in any of them would show.
"""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from timm.data import ImageNetInfo
from torch import Tensor, nn

from tasks.backbones import weights
from tasks.params import BackboneParams

SUFFIXES = {".jpg", ".jpeg", ".png"}
BATCH = 32


def main(
    folder: Annotated[Path, typer.Argument(help="Photographs of one class.")],
    label: Annotated[str, typer.Option("--class", help="A part of the names of the right classes, such as daisy.")],
    names: Annotated[str, typer.Option(help="Networks, between commas.")] = "efficientnet_lite0,mobilenet_v2",
    count: Annotated[int, typer.Option(min=2, help="Photographs.")] = 128,
) -> None:
    """Print, a network and variant a line, the share of right answers and how far layers are from their statistics."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)[:count]
    info = ImageNetInfo()
    right = torch.tensor([label in info.index_to_description(index).lower() for index in range(1000)])
    if not files or not right.any():
        raise typer.BadParameter(f"no photographs in {folder}" if not files else f"ImageNet has no class '{label}'")
    typer.echo(f"{len(files)} photographs, {int(right.sum())} right classes")
    for name in names.split(","):
        state, record = weights.retrieve(BackboneParams(name=name), size := _size(name))
        model = record.architecture().build(size)
        weights.fill(model, state)
        images = torch.stack([_image(file, size) for file in files])
        for variant, network, mean, std in _variants(model.eval(), record.mean, record.std):
            shares, distance = _measured(network, (images - _channels(mean)) / _channels(std), right)
            typer.echo(
                f"{name} {variant}: right first {shares[0]:.3f}, in the first five {shares[1]:.3f}; "
                f"inputs of norms are {distance:.3f} of their standard deviations off"
            )


def _size(name: str) -> int:
    from tasks.backbones import catalogue

    return catalogue.find(name).size


def _image(file: Path, size: int) -> Tensor:
    """Return the middle of a photograph as ImageNet's networks are tested, pixels in [0, 1], shape (3, size, size)."""
    image, side = Image.open(file).convert("RGB"), round(size / 0.875)
    scale = side / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)))
    return torch.tensor(pixels).permute(2, 0, 1) / 255


def _channels(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).reshape(-1, 1, 1)


def _variants(
    model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]
) -> Iterator[tuple[str, nn.Module, tuple[float, ...], tuple[float, ...]]]:
    """Yield a network as it is described, and with one thing otherwise."""
    yield "as described", model, mean, std
    half, imagenet = ((0.5,) * 3, (0.5,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    yield "with other input statistics", model, *(imagenet if mean == half[0] else half)
    yield "with another padding", _changed(model, _pad_otherwise), mean, std
    yield "with another epsilon", _changed(model, _other_epsilon), mean, std


def _changed(model: nn.Module, change: Callable[[nn.Module], None]) -> nn.Module:
    changed = copy.deepcopy(model)
    for module in changed.modules():
        change(module)
    return changed


def _other_epsilon(module: nn.Module) -> None:
    if isinstance(module, nn.BatchNorm2d):
        module.eps = 1e-5 if module.eps > 1e-4 else 1e-3


def _pad_otherwise(module: nn.Module) -> None:
    """Pad strided convolutions evenly instead of at the end, as TensorFlow does, or the other way round."""
    if not isinstance(module, nn.Conv2d) or module.stride == (1, 1) or module.kernel_size == (1, 1):
        return
    around = module.kernel_size[0] // 2
    even = type(module) is not nn.Conv2d

    def forward(images: Tensor) -> Tensor:
        pads = (around,) * 4 if even else (around - 1, around) * 2
        return nn.functional.conv2d(
            nn.functional.pad(images, pads), module.weight, module.bias, module.stride, 0, 1, module.groups
        )

    module.forward = forward  # type: ignore[method-assign]


@torch.inference_mode()
def _measured(model: nn.Module, images: Tensor, right: Tensor) -> tuple[tuple[float, float], float]:
    """Return the shares of right answers (first, in the first five), and how far inputs of norms are from expected.

    That is the difference of each channel's mean from its running mean, in running standard deviations, averaged.
    """
    found: dict[str, list[Tensor]] = {}
    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    hooks = [
        module.register_forward_pre_hook(
            lambda _, inputs, name=name: found.setdefault(name, []).append(inputs[0].mean((0, 2, 3)))
        )
        for name, module in norms.items()
    ]
    first = torch.cat([model(batch).topk(5).indices for batch in images.split(BATCH)])
    for hook in hooks:
        hook.remove()
    hits = right[first]
    off = []
    for name, module in norms.items():
        mean, variance = module.running_mean, module.running_var
        assert mean is not None
        assert variance is not None
        off.append(((torch.stack(found[name]).mean(0) - mean).abs() / (variance + module.eps).sqrt()).mean())
    return (hits[:, 0].float().mean().item(), hits.any(1).float().mean().item()), torch.stack(off).mean().item()


if __name__ == "__main__":
    typer.run(main)
