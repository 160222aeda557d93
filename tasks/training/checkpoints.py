"""A training's state in one safetensors file, matched by name when it is loaded."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn, optim
from torch.distributed.tensor import DTensor

from tasks.backbones.architecture import State
from tasks.backbones.tensor_file import write_tensors
from tasks.training.sharding import full_tensor, shard_like

MODEL, OPTIMIZER = "model", "optimizer"


@dataclass
class Progress:
    """What a training has behind it.

    Attributes:
        epoch: number of finished epochs.
        step: number of steps behind it in the epoch that is under way.
        losses: their losses; not a number where a step was skipped.
        taken: number of the optimizer's steps in the current schedule, without those skipped.
        averaged: number of updates of the weights' moving average.
        best_loss: lowest validation loss so far, and the epoch (from 0) that had it.
        seconds: training time so far, without pauses between attempts.
        peak_memory_mib: largest memory so far.
        history: a row an epoch.
    """

    epoch: int = 0
    best_loss: float = float("inf")
    best_epoch: int = -1
    seconds: float = 0.0
    peak_memory_mib: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    step: int = 0
    losses: list[float] = field(default_factory=list)
    taken: int = 0
    averaged: int = 0

    def steps(self, of_epoch: int) -> int:
        """Return the number of steps behind it, over all epochs of so many; solved ones count like others."""
        return self.epoch * of_epoch + self.step

    def end_epoch(self, row: dict[str, float]) -> None:
        """Note an epoch's row of the history, and go on to the next."""
        self.history.append(row)
        self.epoch, self.step, self.losses = self.epoch + 1, 0, []


def content(model: nn.Module, names: list[str], optimizer: optim.Optimizer, copies: dict[str, State]) -> State:
    """Return what a checkpoint has: named tensors of a model, its optimizer's state and copies of the weights.

    All processes of a sharded network have to ask for it.

    Args:
        model: the network.
        names: what of it changes.
        optimizer: of the network's parameters.
        copies: the best weights so far, a moving average: named tensors under a name without dots.
    """
    state = model.state_dict()
    tensors = {f"{MODEL}.{name}": state[name] for name in names}
    for kind, copy in copies.items():
        tensors |= {f"{kind}.{name}": tensor for name, tensor in copy.items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{OPTIMIZER}.{key}.{name}"] = value
    return {key: full_tensor(tensor.detach()).cpu().contiguous() for key, tensor in tensors.items()}


def save(target: Path, progress: Progress, tensors: State) -> None:
    """Write what a training has behind it, and ``content``, whole or not at all.

    Raises:
        UserError: the disk is full; the checkpoint before this one is kept.
    """
    write_tensors(target, tensors, {"progress": json.dumps(asdict(progress))})


def progress_of(source: Path) -> Progress | None:
    """Return what a checkpoint has behind it, or None where there is none, or only a damaged one."""
    try:
        with safetensors.safe_open(source, framework="pt") as file:
            return Progress(**json.loads(file.metadata()["progress"]))
    except (OSError, safetensors.SafetensorError):
        return None


def load(source: Path, model: nn.Module, optimizer: optim.Optimizer) -> tuple[Progress, dict[str, State]] | None:
    """Bring a model and its optimizer into a checkpoint's state; return its progress and copies of the weights.

    Every tensor is found by its name, so that neither the order of layers nor a shape shared by two can swap them.

    Returns None where there is no checkpoint, or only a damaged one.
    """
    progress = progress_of(source)
    if progress is None:
        return None
    try:
        with safetensors.safe_open(source, framework="pt") as file:
            tensors: State = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError):
        return None
    parameters = dict(model.named_parameters())
    state = {**parameters, **dict(model.named_buffers())}
    copies: dict[str, State] = {}
    states: dict[str, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        kind, _, rest = key.partition(".")
        if kind == MODEL:
            state[rest].data.copy_(shard_like(state[rest].data, tensor))
        elif kind == OPTIMIZER:
            entry, _, name = rest.partition(".")
            states.setdefault(name, {})[entry] = tensor
        else:
            copies.setdefault(kind, {})[rest] = tensor
    for name, entries in states.items():
        parameter = parameters[name]
        optimizer.state[parameter] = {
            entry: tensor if tensor.dim() == 0 and entry == "step" else _state_of(parameter, tensor)
            for entry, tensor in entries.items()
        }
    return progress, copies


def _state_of(parameter: nn.Parameter, tensor: Tensor) -> Tensor:
    """Return an optimizer's tensor as it keeps it for a parameter."""
    if isinstance(parameter, DTensor):
        return shard_like(parameter, tensor)
    is_kernel = parameter.dim() == 4
    return tensor.to(parameter.device).clone(memory_format=torch.channels_last if is_kernel else torch.preserve_format)
