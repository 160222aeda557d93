"""Tensors in a file that is whole or absent."""

import resource
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tasks.backbones.tensor_file import write_tensors
from tasks.errors import UserError


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Tensors and metadata come back; others may read the file as they may any other that is written here."""
    target, other = tmp_path / "tensors.safetensors", tmp_path / "other"
    write_tensors(target, {"weight": torch.arange(6.0).view(2, 3)}, {"progress": "half"})
    other.write_bytes(b"")
    with safe_open(target, framework="pt") as file:
        assert torch.equal(file.get_tensor("weight"), torch.arange(6.0).view(2, 3))
        assert file.metadata() == {"progress": "half"}
    assert target.stat().st_mode == other.stat().st_mode


def test_a_full_disk_keeps_the_file_before(tmp_path: Path) -> None:
    """The message names the file and what to do; nothing else is left."""
    target = tmp_path / "tensors.safetensors"
    write_tensors(target, {"weight": torch.zeros(3)})
    before = target.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(UserError, match=f"no space left while writing {target}"):
            write_tensors(target, {"weight": torch.zeros(3000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    """A file in the place of the folder is said as the system says it."""
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(OSError, match="folder"):
        write_tensors(tmp_path / "folder" / "tensors.safetensors", {"weight": torch.zeros(3)})
