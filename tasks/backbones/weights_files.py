"""What a weights file is, told by its first bytes, and the tensors in it; no code in it is run."""

import argparse
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from tasks.backbones.architecture import State
from tasks.errors import UserError, listed, one_line

SUFFIXES = {".pth", ".pt", ".safetensors"}
SHOWN = 8
DEEP = 4  # levels of a file at which weights are looked for
HEADER = 512  # bytes
TO_SAVE = "save its weights alone where it was made, torch.save(model.state_dict(), 'weights.pth'), and give that file"
_SCALAR = np.float64(0).__reduce__()[0]
# Settings and figures that training scripts keep beside the weights, and that read nothing but data.
_HARMLESS: list[Any] = [
    argparse.Namespace, np.dtype, _SCALAR, (_SCALAR, "numpy.core.multiarray.scalar"), np.ndarray,
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")),
]  # fmt: skip
_SIGNS = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file that it stands for: run 'git lfs pull'"),
    (b"\x89HDF", "an HDF5 file, as Keras writes them: give one of PyTorch's or a .safetensors file"),
    (b"\x93NUMPY", "an array of NumPy: give one of PyTorch's or a .safetensors file"),
    (b"\x1f\x8b", "compressed by gzip: unpack it, and give the weights file that is in it"),
    (b"BZh", "compressed by bzip2: unpack it, and give the weights file that is in it"),
    (b"\xfd7zXZ", "compressed by xz: unpack it, and give the weights file that is in it"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it, and give the weights file that is in it"),
    (b"Rar!", "a RAR archive: unpack it, and give the weights file that is in it"),
    (b"GGUF", "a GGUF file of a language model: give one of PyTorch's or a .safetensors file"),
)
_ONNX = re.compile(rb"\x08[\x01-\x20][\x12\x1a\x22\x2a\x32\x3a\x42]", re.S)  # the version of its form, then a field
_CLASS = re.compile(r"(?:GLOBAL|class|type) ([\w]+\.[\w.]+)")
_OF_TRAINING = re.compile(r"optim|sched|scaler", re.I)  # entries whose tensors are no network's


def candidates(file: Path) -> dict[str, State]:
    """Return every set of tensors by name that is in a file, by where in it they are; the file itself is ''.

    Raises:
        UserError: the file is something else, is damaged, would run code, or holds no weights.
    """
    if is_safetensors(file):
        return {"": _read_safetensors(file)}
    if wrong := _what_else(file):
        raise UserError(f"the weights file {file} can't be read: it is {wrong}")
    content = _read_torch(file)
    states = dict(_states(content, ""))
    if not states:
        raise UserError(f"the weights file {file} holds no state dict of tensors{_instead(content)}: {TO_SAVE}")
    return states


def is_weights_file(weights: str) -> bool:
    """Return whether ``backbone.weights`` names a file of the user's, which need not be there."""
    given = Path(weights).expanduser()
    return given.suffix in SUFFIXES or given.is_file()


def is_safetensors(file: Path) -> bool:
    """Return whether a file begins as safetensors do, whatever it is called."""
    with file.open("rb") as stream:
        start = stream.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < file.stat().st_size


def _read_safetensors(file: Path) -> State:
    try:
        return dict(safetensors.torch.load_file(file))
    except Exception as error:
        raise UserError(
            f"the weights file {file} can't be read: it is damaged ({_line(error)}): get it again"
        ) from error


def _read_torch(file: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = _CLASS.search(str(error))
        name = named[1].rstrip(".") if named else ""
        what = f"it holds a pickled object of {name}" if name else "it is no file of tensors"
        raise UserError(
            f"the weights file {file} can't be read safely: {what}, not tensors alone: {TO_SAVE}"
        ) from error
    except Exception as error:
        raise UserError(
            f"the weights file {file} can't be read safely: it is damaged, or no file of PyTorch's ({_line(error)}): "
            "get it again"
        ) from error


def _what_else(file: Path) -> str:
    """Return what a file is that is no weights file, and what to do, in words; empty if it may be one."""
    with file.open("rb") as stream:
        start = stream.read(HEADER)
    if zipfile.is_zipfile(file):
        return _kind_of_archive(file)
    page = start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    checks = (
        (not start.strip(b"\0"), "empty: get it again"),
        *((start.startswith(sign), words) for sign, words in _SIGNS),
        (page, "a web page: get the file from the address that its download button has"),
        (start[257:262] == b"ustar", "a tar archive: unpack it, and give the weights file that is in it"),
        (file.suffix == ".safetensors", "damaged, or no safetensors file: get it again"),
        (bool(_ONNX.match(start)), f"an ONNX file: give it as backbone.name, called {file.stem}.onnx, without weights"),
        (_is_text(start), "text: give the weights file itself"),
    )
    return next((words for holds, words in checks if holds), "")


def _kind_of_archive(file: Path) -> str:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    parts = {part for name in names for part in name.split("/")[:2]}
    if "constants.pkl" in parts or "code" in parts:
        return (
            "a TorchScript archive, which is a program: save its weights alone, "
            "torch.save(torch.jit.load(…).state_dict(), 'weights.pth'), and give that file"
        )
    if "data.pkl" in parts:
        return ""
    if "archive_format" in parts:
        return (
            "a program of torch.export: save its weights alone, "
            "torch.save(dict(torch.export.load(…).state_dict), 'weights.pth'), and give that file"
        )
    return f"a zip archive of {listed(names, 3)}: unpack it, and give the weights file that is in it"


def _is_text(start: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start)


def _states(content: Any, place: str, depth: int = 0) -> list[tuple[str, State]]:
    if not isinstance(content, Mapping) or depth > DEEP:
        return []
    states: list[tuple[str, State]] = []
    if _holds_weights(content):
        states.append((place, {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}))
    for key, value in content.items():
        if isinstance(key, str) and not _OF_TRAINING.search(key):
            states += _states(value, f"{place}.{key}" if place else key, depth + 1)
    return states


def _holds_weights(content: Mapping[Any, Any]) -> bool:
    """Return whether all is tensors by name; or else some, of layers, and beside them plain data."""
    if not content or not all(isinstance(name, str) for name in content):
        return not content
    tensors = [name for name, value in content.items() if isinstance(value, Tensor)]
    layered = sum("." in name for name in tensors)
    return len(tensors) == len(content) or layered > len(content) / 2


def _instead(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f" but a {type(content).__name__}"
    keys = [str(key) for key in content]
    if any("optim" in key or key == "param_groups" for key in keys):
        return f" but what an optimizer needs (its entries: {listed(keys, SHOWN)})"
    return f" (its entries: {listed(keys, SHOWN)})"


def _line(error: Exception) -> str:
    return one_line(error).partition(". ")[0][:120] or type(error).__name__
