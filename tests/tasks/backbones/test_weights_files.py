"""Files under the name of a weights file that are something else: one sentence says what, and what to do."""

import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from tasks.backbones.weights_files import candidates
from tasks.errors import UserError


def torch_file(content: object) -> bytes:
    """Return what torch.save writes."""
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def scripted() -> bytes:
    """Return a TorchScript archive."""
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), stream)
    return stream.getvalue()


def zipped(*names: str) -> bytes:
    """Return a zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return stream.getvalue()


def tarred() -> bytes:
    """Return a tar archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"))
    return stream.getvalue()


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "empty"),
    "zeros": (lambda: bytes(5000), "empty"),
    "pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    "page": (lambda: b"\n <!DOCTYPE html><html>404</html>", "web page"),
    "json": (lambda: b'{"error": "not found"}', "text"),
    "sentence": (lambda: b"Not Found", "text"),
    "module": (lambda: torch_file(nn.Linear(2, 2)), r"torch.nn.modules.linear.Linear.*model.state_dict\(\)"),
    "module inside": (lambda: torch_file({"model": nn.Linear(2, 2), "epoch": 3}), r"model.state_dict\(\)"),
    "plain pickle": (lambda: pickle.dumps(Path("here")), "can't be read safely"),
    "script": (scripted, r"TorchScript archive.*torch.jit.load\(…\).state_dict\(\)"),
    "archive": (lambda: zipped("weights/model.pth", "readme.txt"), "zip archive of weights/model.pth"),
    "tar": (tarred, "tar archive"),
    "gzip": (lambda: gzip.compress(b"weights"), "gzip"),
    "hdf5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
    "onnx": (lambda: b"\x08\x08\x12\x07pytorch\x1a\x052.0.0" + bytes(99), r"ONNX file.*backbone.name"),
    "optimizer": (
        lambda: torch_file({"optimizer": {"state": {0: {"step": torch.zeros(1)}}, "param_groups": []}, "epoch": 3}),
        "what an optimizer needs",
    ),
    "half a file": (lambda: torch_file({"a.weight": torch.zeros(999)})[:2000], "damaged"),
    "no tensors": (lambda: torch_file({"epoch": 3, "name": "resnet"}), "its entries: epoch, name"),
}


@pytest.mark.parametrize("kind", FILES)
def test_what_a_file_is_instead(tmp_path: Path, kind: str) -> None:
    """Its name, what it is and what to do; never torch's advice to run what is in it."""
    made, expected = FILES[kind]
    file = tmp_path / "own.pth"
    file.write_bytes(made())
    with pytest.raises(UserError, match=rf"own\.pth .*{expected}") as error:
        candidates(file)
    assert "weights_only" not in str(error.value)
    assert "\n" not in str(error.value)


def test_safetensors_under_another_name(tmp_path: Path) -> None:
    """A file is what it begins as, not what it is called."""
    safetensors.torch.save_file({"a.weight": torch.ones(2)}, tmp_path / "own.pth")
    assert torch.equal(candidates(tmp_path / "own.pth")[""]["a.weight"], torch.ones(2))


def test_figures_beside_the_tensors_are_no_weights(tmp_path: Path) -> None:
    """A flat checkpoint, whose tensors have other entries among them."""
    torch.save({"a.weight": torch.ones(2), "b.weight": torch.ones(2), "epoch": 3}, tmp_path / "own.pth")
    assert candidates(tmp_path / "own.pth")[""].keys() == {"a.weight", "b.weight"}
