"""A network whose weights, gradients and optimizer state are divided over the processes that train it.

Zhao et al., PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel (VLDB 2023), by torch's ``fully_shard``:
each process keeps a slice of every tensor. A block's weights are gathered while it runs, forwards and backwards, and
their gradients are added up into slices behind it.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from tasks.backbones.tracing import modules_that_run
from tasks.strategies.surgery import Adapted
from tasks.training.device import Hardware

SMALLEST_BLOCK = 0.01  # of all weights; smaller ones are gathered with what is around them


def shard(adapted: Adapted, images: Tensor, hardware: Hardware) -> Adapted:
    """Return a copy of a network of which this process keeps no more than its slices, on a device.

    Scalars (tensors without a dimension) are whole in every process.

    Args:
        adapted: the network, on the CPU.
        images: two normalised images of the working size, to find out which modules run.
        hardware: the device that trains, and its precision.
    """
    model, device = copy.deepcopy(adapted.model), hardware.device
    scalars = {parameter for parameter in model.parameters() if parameter.dim() == 0}
    for parameter in model.parameters():
        parameter.data = parameter.data.to(device) if parameter in scalars else parameter.data.contiguous()
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    with torch.autocast("cpu", torch.bfloat16, enabled=hardware.bfloat16):
        blocks = _blocks(model, [prefix for part in adapted.parts for prefix in part.prefixes], images)
    for module in [*blocks, model]:
        fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=scalars)
    return replace(adapted, model=model)


def average_scalar_gradients(model: nn.Module) -> None:
    """Let all processes have the mean of their gradients of a sharded network's scalars, as they do of its slices."""
    for parameter in model.parameters():
        if parameter.grad is not None and not isinstance(parameter, DTensor):
            dist.all_reduce(parameter.grad)
            parameter.grad.div_(dist.get_world_size())


def full_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor with all of its slices; every process has to ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: Tensor, values: Tensor) -> Tensor:
    """Return values divided as a tensor of their shape is, of which every process has all."""
    if not isinstance(tensor, DTensor):
        return values
    return distribute_tensor(values.to(tensor.device), tensor.device_mesh, tensor.placements, src_data_rank=None)


def _blocks(model: nn.Module, prefixes: Iterable[str], images: Tensor) -> list[nn.Module]:
    """Return the modules whose weights are gathered together: blocks of a stage, which run as modules."""
    modules = dict(model.named_modules())
    blocks = [block for prefix in prefixes if prefix in modules for block in _unpacked(modules[prefix])]
    that_run = modules_that_run(model, images)
    smallest = SMALLEST_BLOCK * _size(model)
    return [block for block in blocks if block in that_run and _size(block) >= smallest]


def _unpacked(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from _unpacked(child)
    else:
        yield module


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
