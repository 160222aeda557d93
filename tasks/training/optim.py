"""The optimizer with all its groups from the start, and the rate of every step."""

import math
from collections.abc import Collection, Iterable

import torch
from torch import nn, optim

from tasks.params import StrategyParams
from tasks.strategies.freezing import FreezePlan
from tasks.training.sharding import full_tensor


def build(
    model: nn.Module, plan: FreezePlan, settings: StrategyParams, without_decay: Collection[str] = ()
) -> optim.Optimizer:
    """Return an optimizer over every parameter, frozen ones included, in two groups a part: with and without decay.

    Biases and norm parameters (one dimension) have no weight decay, and neither have those named. Where a process has
    the weights whole, AdamW goes over them once (fused), in a third of the time on a processor.
    """
    groups = []
    for group in plan.groups:
        parameters = {name: model.get_parameter(name) for name in group.parameters}
        for decays in (True, False):
            chosen = [p for name, p in parameters.items() if (p.dim() > 1 and name not in without_decay) is decays]
            if chosen:
                decay = settings.weight_decay if decays else 0.0
                groups.append({"params": chosen, "name": group.name, "weight_decay": decay})
    if settings.optimizer == "sgd":
        return optim.SGD(groups, lr=0.0, momentum=settings.momentum, foreach=True)
    return optim.AdamW(groups, lr=0.0, fused=not settings.sharded, foreach=settings.sharded)


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Return the share of the peak rate at ``step`` (from 0) of ``steps``.

    Linear over the first ``warmup`` share of the steps, then half a cosine towards zero (Loshchilov and Hutter, SGDR,
    2017, without restarts).
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def set_rates(optimizer: optim.Optimizer, plan: FreezePlan, epoch: int, taken: int, steps: int, warmup: float) -> None:
    """Set every group's rate for the next step; a frozen group's is 0.

    Args:
        optimizer: with a group or two for each of the plan's.
        plan: what trains when, and its peak rate.
        epoch: from 0.
        taken: the optimizer's steps so far in the epoch's schedule. A step that was skipped is none of them, so that
            the step after it gets the rate that it would have had.
        steps: of an epoch.
        warmup: share of the schedule's steps over which the rate rises.
    """
    _, epochs = plan.cycle(epoch)
    share = warmup_cosine(taken, epochs * steps, warmup)
    rates = plan.rates(epoch)
    for group in optimizer.param_groups:
        group["lr"] = rates.get(group["name"], 0.0) * share


def all_finite(parameters: Iterable[nn.Parameter]) -> bool:
    """Return whether every gradient is finite."""
    norms = torch._foreach_norm([p.grad for p in parameters if p.grad is not None])
    return bool(torch.stack([full_tensor(norm).float() for norm in norms]).isfinite().all())
