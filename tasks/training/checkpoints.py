"""A training's state in one safetensors file, matched by name when it is loaded."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn, optim

from tasks.files import write_bytes


@dataclass
class Progress:
    """What a training has behind it.

    Attributes:
        epoch: number of finished epochs.
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


def save(
    target: Path, progress: Progress, model: nn.Module, names: list[str], optimizer: optim.Optimizer,
    best: dict[str, Tensor],
) -> None:  # fmt: skip
    """Write the named tensors of a model, its optimizer's state and the best tensors so far, whole or not at all.

    Raises:
        UserError: the disk is full; the checkpoint before this one is kept.
    """
    state = model.state_dict()
    tensors = {f"model.{name}": state[name] for name in names}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    content = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    write_bytes(target, safetensors.torch.save(content, metadata={"progress": json.dumps(asdict(progress))}))


def load(source: Path, model: nn.Module, optimizer: optim.Optimizer) -> tuple[Progress, dict[str, Tensor]] | None:
    """Bring a model and its optimizer into a checkpoint's state; return its progress and best tensors.

    Returns None where there is no checkpoint, or only a damaged one.
    """
    try:
        with safetensors.safe_open(source, framework="pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError):
        return None
    parameters = dict(model.named_parameters())
    state = {**parameters, **dict(model.named_buffers())}
    best: dict[str, Tensor] = {}
    states: dict[str, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        kind, _, rest = key.partition(".")
        if kind == "model":
            state[rest].data.copy_(tensor)
        elif kind == "best":
            best[rest] = tensor
        else:
            entry, _, name = rest.partition(".")
            states.setdefault(name, {})[entry] = tensor
    for name, entries in states.items():
        parameter = parameters[name]
        optimizer.state[parameter] = {
            entry: tensor if tensor.dim() == 0 else tensor.to(parameter.device).clone(memory_format=_format(parameter))
            for entry, tensor in entries.items()
        }
    return progress, best


def _format(parameter: nn.Parameter) -> Any:
    return torch.preserve_format if parameter.dim() != 4 else torch.channels_last
