"""Networks whose weights have a shape and nothing else, so that the largest are built in no time."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from tasks.backbones import catalogue
from tasks.backbones.architecture import Architecture, Part


class WithoutStorage(TorchFunctionMode):
    """Within this context, new weights have no storage."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def built(architecture: Architecture, size: int) -> nn.Module:
    """Return a network without storage for its weights, in evaluation mode."""
    with WithoutStorage():
        model = architecture.build(size)
    return model.to("meta").eval()


@cache
def skeleton(name: str) -> nn.Module:
    """Return a network without storage, made for the size that it was pretrained at; tests must not change it."""
    architecture = catalogue.find(name)
    return built(architecture, architecture.size)


def images(size: int) -> torch.Tensor:
    """Return two images without storage."""
    return torch.empty(2, 3, size, size, device="meta")


def tensors(model: nn.Module) -> list[str]:
    """Return the names of all parameters and buffers."""
    return [*dict(model.named_parameters()), *dict(model.named_buffers())]


def leaves(model: nn.Module) -> list[str]:
    """Return the names of the modules without modules in them."""
    return [name for name, module in model.named_modules() if name and not any(module.children())]


def owners(parts: list[Part], names: list[str]) -> dict[str, list[str]]:
    """Return the parts that own each name."""
    return {name: [part.name for part in parts if part.owns(name)] for name in names}


def assert_divided(architecture: Architecture, model: nn.Module) -> list[Part]:
    """Check what every caller relies on about the parts of a network, and return them."""
    parts = architecture.split(model)
    names = [part.name for part in parts]
    stages = [name for name in names if name.startswith("stage")]
    auxiliary = ["aux"] if architecture.auxiliary else []
    assert stages
    assert names == ["stem", *(f"stage{number}" for number in range(1, len(stages) + 1)), *auxiliary, "head"]

    owned = owners(parts, [*tensors(model), *leaves(model)])
    assert {name: names_of_owners for name, names_of_owners in owned.items() if len(names_of_owners) != 1} == {}
    assert {owned[name][0] for name, _ in model.named_parameters()} == set(names)
    assert {name.rpartition(".")[0] for name in tensors(model) if parts[-1].owns(name)} == {architecture.head}
    assert architecture.head in parts[-1].prefixes

    first, last = model.get_submodule(architecture.input_layer), model.get_submodule(architecture.head)
    assert isinstance(first, nn.Conv2d)
    assert first.in_channels == 3
    assert parts[0].owns(architecture.input_layer)
    assert isinstance(last, nn.Linear) or (isinstance(last, nn.Conv2d) and last.kernel_size == (1, 1))
    return parts


def assert_runs_in_order(architecture: Architecture, model: nn.Module, parts: list[Part], size: int) -> None:
    """Check that a forward pass goes through the parts one after the other, from the image to the logits."""
    order: list[str] = []
    modules = {name: model.get_submodule(name) for name in leaves(model)}
    handles = [
        module.register_forward_hook(lambda *_, name=name: order.append(name)) for name, module in modules.items()
    ]
    with torch.no_grad():
        logits = model(images(size))
    for handle in handles:
        handle.remove()
    last = model.get_submodule(architecture.head)
    assert logits.shape == (2, last.out_features if isinstance(last, nn.Linear) else last.out_channels)
    weighted = [name for name in dict.fromkeys(order) if list(modules[name].parameters())]
    assert weighted[-1] == architecture.head
    places = [index for name in weighted for index, part in enumerate(parts) if part.owns(name)]
    assert places == sorted(places)
    assert {parts[place].name for place in places} == {part.name for part in parts if part.name != "aux"}
