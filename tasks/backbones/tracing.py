"""A forward pass, written down: which layers run in which order, and at which resolution."""

from collections.abc import Iterator, Sequence
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
    """A layer that ran: a module within which no other did.

    Attributes:
        name, module: the layer.
        positions: places of the image that its output has a vector for.
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
    inner: dict[str, bool] = {}
    positions: dict[str, int | None] = {}

    def enter(name: str) -> None:
        if not any(isinstance(modules[outer], _LAYERS) for outer in busy):
            inner.update(dict.fromkeys(busy, False))
            inner.setdefault(name, True)
        busy.append(name)

    def leave(name: str, output: Any) -> None:
        while busy.pop() != name:
            pass  # modules that raised what the network caught
        positions[name] = _positions(modules[name], output)

    with _evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
        handles = []
        for name, module in modules.items():
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: enter(name)))
            handles.append(module.register_forward_hook(lambda *seen, name=name: leave(name, seen[-1])))
        try:
            answer = model(torch.zeros(BATCH, 3, size, size, device=device_of(model)))
        finally:
            for handle in handles:
                handle.remove()
    calls, latest = [], size * size
    for name in (name for name, innermost in inner.items() if innermost):
        latest = positions[name] or latest
        calls.append(Call(name, modules[name], latest))
    return calls, answer


def levels(positions: Sequence[int]) -> list[int]:
    """Return for each layer in order how often the resolution has fallen for good up to there.

    A fall that is taken back later, as in a squeeze-and-excitation, is none.
    """
    lasting = list(accumulate(reversed(positions), max))[::-1]
    return list(accumulate((after < before for before, after in pairwise(lasting)), initial=0))


def has_state(module: nn.Module) -> bool:
    """Return whether a module has parameters or buffers, its own or below."""
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a network's weights."""
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def _positions(module: nn.Module, output: Any) -> int | None:
    if not isinstance(output, Tensor) or not output.numel() or output.shape[0] % BATCH:
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
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
