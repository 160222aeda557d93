"""A network that answers in a chosen way, where that way agrees with the network itself."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn

from tasks.engines.fusion import NotFusableError, fuse
from tasks.engines.ways import EAGER, Precision, Way
from tasks.progress import plain_console

Answer = Callable[[Tensor], Tensor]

COMPARED = 2  # images of the first batch
# By how much an engine's answers may differ from the network's in float32, as a share of their length.
TOLERANCE: dict[Precision, float] = {"float32": 1e-3, "bfloat16": 0.1}


def answering(network: nn.Module, way: Way, device: torch.device) -> Answer:
    """Return a network's forward pass in a chosen way, without gradients, as of its weights when it answers first.

    An engine that raises, or whose first answers are not the network's, is left for the network itself, in float32;
    one line says so.

    Args:
        network: in evaluation mode, on the device.
        way: engine and precision.
        device: the network's.
    """
    plain = _eager(network, way, device)
    if way.engine == "eager" or device.type != "cpu":
        return plain
    return _Fused(network, way)


class _Fused:
    """The network on fused operators, checked when it answers first."""

    def __init__(self, network: nn.Module, way: Way) -> None:
        self._network, self._way = network, way
        self._answer: Answer | None = None

    def __call__(self, images: Tensor) -> Tensor:
        if self._answer is None:
            self._answer = self._checked(images)
        return self._answer(images)

    def _checked(self, images: Tensor) -> Answer:
        """Return the engine if it can be used, else the network."""
        processor, some = torch.device("cpu"), images[:COMPARED]
        plain = _eager(self._network, EAGER, processor)
        try:
            fused = _eager(fuse(self._network, self._way.dtype), self._way, processor)
        except NotFusableError:
            return _eager(self._network, self._way, processor)
        try:
            with _without_hooks(self._network):
                difference = deviation(fused(some), plain(some))
        except Exception as error:
            say_once(f"raises {type(error).__name__}", self._way, type(self._network).__name__)
            return plain
        if difference > TOLERANCE[self._way.precision]:
            say_once(f"differs by {difference:.1%}", self._way, type(self._network).__name__)
            return plain
        return fused


def deviation(answer: Tensor, expected: Tensor) -> float:
    """Return the length of the difference of two answers as a share of the expected one's.

    What is not finite in the network's own answer can't be told apart, and counts as the same.
    """
    if answer.shape != expected.shape:
        return math.inf
    expected = expected.double()
    if not bool(expected.isfinite().all()):
        return 0.0
    difference, length = float((answer.double() - expected).norm()), float(expected.norm())
    if difference == 0:
        return 0.0
    return difference / length if length and math.isfinite(difference) else math.inf


def _eager(network: nn.Module, way: Way, device: torch.device) -> Answer:
    is_low = way.precision == "bfloat16"

    def answer(images: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=is_low):
            answered: Tensor = network(images if is_low else images.float())  # kept activations may be bfloat16
        return answered

    return answer


@contextmanager
def _without_hooks(network: nn.Module) -> Iterator[None]:
    """Call no hook of a network's modules for as long as the block runs."""
    hooks = [hooks for module in network.modules() for hooks in (module._forward_hooks, module._forward_pre_hooks)]
    before = [dict(of_module) for of_module in hooks]
    for of_module in hooks:
        of_module.clear()
    try:
        yield
    finally:
        for of_module, kept in zip(hooks, before, strict=True):
            of_module.update(kept)


@cache
def say_once(what: str, way: Way, network: str) -> None:
    """Say, once a process, why an engine isn't used."""
    plain_console().print(f"{network}: the engine {way} {what}, so the network itself answers, in float32")
