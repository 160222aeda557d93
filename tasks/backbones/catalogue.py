"""Every network by its name: torchvision's, timm's, those in ONNX files, and the user's own."""

from pathlib import Path

from tasks.backbones import onnx_files, own, timm_models, zoo
from tasks.backbones.architecture import Architecture
from tasks.backbones.explicit import with_parts
from tasks.params import PartsParams


def find(name: str, parts: PartsParams | None = None) -> Architecture:
    """Return the description of a network.

    Args:
        name: a torchvision classification model, ``timm/`` with one of timm's, a file that ends in ``.onnx``, or
            ``package.module:callable``.
        parts: what its layers are for, instead of what is known or found out.

    Raises:
        UserError: there is no such network, or its layers can't be told apart.
    """
    if is_onnx(name):
        return onnx_files.find(name, parts)
    if is_own(name):
        return own.find(name, parts)
    architecture = timm_models.find(name) if is_timm(name) else zoo.find(name)
    return with_parts(architecture, parts) if parts else architecture


def is_timm(name: str) -> bool:
    """Return whether a name is that of a network of timm."""
    return name.startswith(timm_models.PREFIX)


def is_own(name: str) -> bool:
    """Return whether a name is that of the user's own architecture."""
    return ":" in name and not is_onnx(name)


def is_onnx(name: str) -> bool:
    """Return whether a name is that of an ONNX file."""
    return name.endswith(onnx_files.SUFFIX)


def packages(name: str) -> list[str]:
    """Return the packages that a network needs besides torch and torchvision."""
    if is_onnx(name):
        return list(onnx_files.PACKAGES)
    return ["timm"] if is_timm(name) else []


def files(name: str) -> list[Path]:
    """Return the files of the user's that a network is made from; none for the networks of libraries.

    Raises:
        UserError: the source can't be imported or read.
    """
    if is_onnx(name):
        return onnx_files.files(name)
    return own.files(name) if is_own(name) else []


def code_sha256(name: str) -> str:
    """Return a digest of the source of the user's own architecture or ONNX file, empty for the networks of libraries.

    Raises:
        UserError: the source can't be imported or read.
    """
    if is_onnx(name):
        return onnx_files.sha256(name)
    return own.code_sha256(name) if is_own(name) else ""
