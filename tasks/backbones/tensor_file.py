"""Tensors as a safetensors file that is whole or absent."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from tasks.files import atomic_path

_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def write_tensors(target: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write contiguous tensors that share no memory, straight to the disk.

    Raises:
        UserError: the disk is full, or the folder may not be written; ``target`` stays as it was.
    """
    with atomic_path(target) as temporary, _os_errors():
        temporary.touch()
        mode = temporary.stat().st_mode
        safetensors.torch.save_file(dict(tensors), temporary, metadata)
        temporary.chmod(mode)  # safetensors lets nobody else read what it writes
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())


@contextmanager
def _os_errors() -> Iterator[None]:
    """Raise what the system refused as it is; safetensors tells it as text."""
    try:
        yield
    except safetensors.SafetensorError as error:
        number = _OS_ERROR.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
