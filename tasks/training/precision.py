"""Frozen weights in half the memory."""

import torch
from torch import nn

from tasks.strategies.freezing import FreezePlan

ROUNDS_ITS_WEIGHTS = (nn.Conv2d, nn.Linear)


def lower(model: nn.Module, plan: FreezePlan) -> None:
    """Keep the weights of convolutions and linear layers that a plan never trains in bfloat16.

    Under bfloat16 autocast these layers round their weights in every step; rounding them once computes the same.
    ``nn.MultiheadAttention`` uses its weights in other ways, too, and keeps them.
    """
    frozen = {name for g in plan.groups if plan.thaws_at(g.name) is None for name in g.parameters}
    attention = {name for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)}
    for name, module in model.named_modules():
        rounds = isinstance(module, ROUNDS_ITS_WEIGHTS) and name.rpartition(".")[0] not in attention
        if rounds and f"{name}.weight" in frozen:
            weight = model.get_parameter(f"{name}.weight")
            weight.data = weight.data.to(torch.bfloat16)
