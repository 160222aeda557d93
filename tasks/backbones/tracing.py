"""A forward pass, written down: which layers run in which order, and at which resolution."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
BATCH = 2
_LAYERS = (nn.Conv2d, nn.Linear)
_ON_MAPS = (nn.Conv2d, nn.modules.batchnorm._NormBase, nn.GroupNorm)


@dataclass(frozen=True)
class Call:
    """A layer that ran: a module with weights of its own or without any, within which no other weights are used.

    Attributes:
        name, module: the layer.
        positions: places of the image that its output has a vector for. Within a module that answers in the shape it
            was given, such as a squeeze-and-excitation, these are the places before.
    """

    name: str
    module: nn.Module
    positions: int


def trace(model: nn.Module, size: int) -> tuple[list[Call], object]:
    """Run a network on two images; return its layers in the order of their first run, and what it answers.

    The network runs in evaluation mode. Weights without storage (the device ``meta``) are enough.

    Raises:
        Exception: whatever the network raises if it doesn't take an image of that size.
    """
    modules = dict(model.named_modules())
    busy: list[str] = []
    around: dict[str, tuple[str, ...]] = {}
    positions: dict[str, int | None] = {}
    keeping: set[str] = set()

    def enter(name: str) -> None:
        around.setdefault(name, tuple(busy))
        busy.append(name)

    def leave(name: str, given: tuple[Any, ...], output: Any) -> None:
        while busy.pop() != name:
            pass  # modules that raised what the network caught
        positions[name] = _positions(modules[name], output)
        if given and isinstance(given[0], Tensor) and isinstance(output, Tensor) and given[0].shape == output.shape:
            keeping.add(name)

    with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
        handles = []
        for name, module in modules.items():
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: enter(name)))
            handles.append(module.register_forward_hook(lambda _, given, out, name=name: leave(name, given, out)))
        try:
            answer = model(torch.zeros(BATCH, 3, size, size, device=device_of(model)))
        finally:
            for handle in handles:
                handle.remove()
    calls, latest = [], size * size
    for name in _layers(modules, around):
        if not keeping.intersection(around[name]):
            latest = positions[name] or latest
        calls.append(Call(name, modules[name], latest))
    return calls, answer


def modules_that_run(model: nn.Module, images: Tensor) -> set[nn.Module]:
    """Return the modules that a forward pass in evaluation mode calls, the network itself among them."""
    ran: set[nn.Module] = set()
    handles = [module.register_forward_hook(lambda module, *_: ran.add(module)) for module in model.modules()]
    try:
        with evaluating(model), torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return ran


def levels(positions: Sequence[int]) -> list[int]:
    """Return for each layer in order how often the resolution has fallen for good up to there.

    A fall that is taken back later, as in a squeeze-and-excitation, is none.
    """
    lasting = list(accumulate(reversed(positions), max))[::-1]
    return list(accumulate((after < before for before, after in pairwise(lasting)), initial=0))


def has_state(module: nn.Module) -> bool:
    """Return whether a module has parameters or buffers, its own or below."""
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())


def has_own_state(module: nn.Module) -> bool:
    """Return whether a module has parameters or buffers beside those of the modules in it."""
    return any(tensor is not None for tensor in (*module._parameters.values(), *module._buffers.values()))


def is_composed(module: nn.Module) -> bool:
    """Return whether there are modules with parameters or buffers in a module."""
    return any(has_state(child) for child in module.children())


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a network's weights."""
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def _layers(modules: Mapping[str, nn.Module], around: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the layers of the modules that ran, given the modules that each ran in."""
    composed = {outer for name, outers in around.items() if has_state(modules[name]) for outer in outers}
    wrapping = {outer for outers in around.values() for outer in outers if not has_own_state(modules[outer])}
    layers = {
        name for name in around if isinstance(modules[name], _LAYERS) or not (name in composed or name in wrapping)
    }
    return [name for name in around if name in layers and not layers.intersection(around[name])]


def _positions(module: nn.Module, output: Any) -> int | None:
    if not isinstance(output, Tensor) or not output.ndim or not output.numel() or output.shape[0] % BATCH:
        return None  # such as a table of relative positions, which all images share
    features = module.out_features if isinstance(module, nn.Linear) else None
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        features = module.normalized_shape[0]
    if features:
        return output.numel() // features // BATCH
    if output.ndim == 4 and (isinstance(module, _ON_MAPS) or "Pool" in type(module).__name__):
        return output.shape[-1] * output.shape[-2]
    return None


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Keep all of a network in evaluation mode for as long as the block runs."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
