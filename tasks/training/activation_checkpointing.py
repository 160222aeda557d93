"""Activation checkpointing: what lies between the stages' inputs is computed again in the backward pass.

Chen et al., Training Deep Nets with Sublinear Memory Cost (2016). Memory falls to one stage's activations and each
stage's input; a step takes one more forward pass through what trains.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tasks.strategies.freezing import NORMS_WITH_STATISTICS
from tasks.training.patching import Forward, replaced_forwards


@contextmanager
def activation_checkpointed(model: nn.Module, prefixes: Iterable[str]) -> Iterator[None]:
    """Checkpoint, for as long as the block runs, the activations of the modules named; other names are passed over."""
    modules = dict(model.named_modules())
    chosen = [modules[prefix] for prefix in prefixes if prefix in modules and list(modules[prefix].parameters())]
    with replaced_forwards({module: _checkpointed(module) for module in chosen}):
        yield


def _checkpointed(module: nn.Module) -> Forward:
    plain = module.forward

    def contexts() -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
        return nullcontext(), _statistics_kept(module)

    def forward(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return plain(*args, **kwargs)
        return checkpoint(plain, *args, use_reentrant=False, context_fn=contexts, **kwargs)

    return forward


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Keep BatchNorm from taking the same batch into its statistics a second time."""
    norms = [norm for norm in module.modules() if isinstance(norm, NORMS_WITH_STATISTICS) and norm.training]
    with ExitStack() as after:
        for norm in norms:
            after.callback(setattr, norm, "momentum", norm.momentum)
            norm.momentum = 0.0
            if norm.num_batches_tracked is not None:
                after.callback(norm.num_batches_tracked.copy_, norm.num_batches_tracked.clone())
        yield
