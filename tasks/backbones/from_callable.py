"""Architectures from any callable that makes a network: its size and its layers are found out by running it."""

import inspect
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import nn

from tasks.backbones.architecture import Architecture, Layout, Part
from tasks.backbones.discovery import find_head, find_input_layer, find_parts
from tasks.backbones.division import check_division
from tasks.backbones.stated_parts import stated_parts
from tasks.backbones.tracing import Call, trace
from tasks.errors import LONGEST, UserError, one_line, reason_of
from tasks.params import PartsParams

SIZE_PARAMETERS = ("size", "img_size", "image_size")
USUAL_SIZES = (224, 256, 299, 384, 512, 128, 96, 64, 48, 32, 28, 16)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's

Maker = Callable[..., object]


def describe(
    name: str,
    maker: Maker,
    parts: PartsParams | None,
    sizes: tuple[int, ...] = USUAL_SIZES,
    licence: str = "that of the user's own architecture",
) -> Architecture:
    """Return the description of an architecture that a callable makes.

    Args:
        name: of the architecture.
        maker: of networks with random weights; hashable.
        parts: what the layers are for; unset, it is found out from a forward pass.
        sizes: sides in pixels that are tried, where the callable doesn't state one.
        licence: of its weights.

    Raises:
        UserError: what the callable returns is not a classifier of images.
    """
    size, layout = _layout(name, maker, parts, sizes)
    return Architecture(
        name=name,
        head=layout.head,
        input_layer=layout.input_layer,
        auxiliary=(),
        auxiliary_weight=0.0,
        mean=MEAN,
        std=STD,
        size=size,
        smallest=1,
        recipe=None,
        licence=licence,
        build=partial(_build, name, maker),
        split=partial(_split, name, layout.parts),
    )


@cache
def _layout(name: str, maker: Maker, parts: PartsParams | None, sizes: tuple[int, ...]) -> tuple[int, Layout]:
    """Return a size that a network takes, and what its layers are for."""
    model, size, calls, answer = _first_run(name, maker, sizes)
    if parts is None:
        input_layer, head = find_input_layer(name, calls), find_head(name, calls, answer)
        return size, Layout(input_layer, head, tuple(find_parts(name, model, calls, input_layer, head)))
    divided = stated_parts(name, parts, (), model)
    input_layer = find_input_layer(name, [call for call in calls if divided[0].owns(call.name)])
    return size, Layout(input_layer, parts.head, tuple(divided))


def _first_run(name: str, maker: Maker, sizes: tuple[int, ...]) -> tuple[nn.Module, int, list[Call], object]:
    """Make the network and find a size that it takes: its own default, or one of several."""
    parameter = _size_parameter(maker)
    default = parameter.default if parameter is not None and isinstance(parameter.default, int) else None
    refusals = []
    with torch.random.fork_rng(devices=[]):
        for size in (default,) if default else sizes:
            model = _make(name, maker, size)
            try:
                return model, size, *trace(model, size)
            except Exception as error:  # whatever the user's code raises
                refusals.append(f"{size}: {reason_of(error)}")
    raise UserError(
        f"params.yaml: backbone.name '{name}' takes no RGB image of any size that was tried, such as {refusals[0]}"
    )


def _build(name: str, maker: Maker, size: int) -> nn.Module:
    model = _make(name, maker, size)
    try:
        trace(model, size)
    except Exception as error:  # whatever the user's code raises
        raise UserError(f"params.yaml: data.size {size} is none that {name} takes: {reason_of(error)}") from error
    return model


def _make(name: str, maker: Maker, size: int) -> nn.Module:
    parameter = _size_parameter(maker)
    try:
        model = maker() if parameter is None else maker(**{parameter.name: size})
    except UserError:
        raise
    except Exception as error:  # whatever the user's code raises
        given = f"{parameter.name}={size}" if parameter else "no arguments"
        raise UserError(
            f"params.yaml: backbone.name '{name}': calling it with {given} failed with "
            f"{type(error).__name__}: {one_line(error, LONGEST)}"
        ) from error
    if not isinstance(model, nn.Module):
        raise UserError(
            f"params.yaml: backbone.name '{name}' returns a {type(model).__name__} where a network (nn.Module) is "
            "needed"
        )
    return model


def _size_parameter(maker: Maker) -> inspect.Parameter | None:
    try:
        parameters = inspect.signature(maker).parameters
    except (TypeError, ValueError):  # a callable without a signature, written in C
        return None
    return next((parameters[name] for name in SIZE_PARAMETERS if name in parameters), None)


def _split(name: str, parts: tuple[Part, ...], model: nn.Module) -> list[Part]:
    check_division(name, model, parts)
    return list(parts)
