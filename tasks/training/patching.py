"""Other forward passes for a network's modules, for a while."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

Forward = Callable[..., Any]


@contextmanager
def replaced_forwards(forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """Give modules another forward pass for as long as the block runs.

    Args:
        forwards: by module; a pass that calls the module's own one takes hold of ``module.forward`` before the block.
    """
    before: dict[nn.Module, Forward | None] = {module: module.__dict__.get("forward") for module in forwards}
    for module, forward in forwards.items():
        module.forward = forward
    try:
        yield
    finally:
        for module, replaced in before.items():
            if replaced is None:
                del module.forward
            else:
                module.forward = replaced
