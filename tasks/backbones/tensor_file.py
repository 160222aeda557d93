"""Tensors as a safetensors file that is whole or absent."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor

from tasks.files import atomic_path


def write_tensors(target: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write contiguous tensors that share no memory, straight to the disk.

    Raises:
        UserError: the disk is full, or the folder may not be written; ``target`` stays as it was.
    """
    with atomic_path(target) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        safetensors.torch.save_file(dict(tensors), temporary, metadata)
        temporary.chmod(mode)  # safetensors lets nobody else read what it writes
