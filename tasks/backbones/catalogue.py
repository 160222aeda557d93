"""Every network by its name. A new library is a module with the functions of a ``Library``, and a row here."""

from pathlib import Path

from tasks.backbones import custom_module, efficientnet_lite, onnx_files, onnx_reading, timm_models, torchvision_models
from tasks.backbones.architecture import Architecture
from tasks.backbones.library import Library
from tasks.params import PartsParams

LIBRARIES = (  # a network is of the first that has it
    Library(
        has=onnx_files.has,
        find=onnx_files.find,
        packages=onnx_reading.PACKAGES,
        files=onnx_reading.files,
        code_sha256=onnx_reading.sha256,
        resolve=onnx_files.with_own_weights,
        own_state=onnx_files.state,
    ),
    Library(
        has=custom_module.has,
        find=custom_module.find,
        files=custom_module.files,
        code_sha256=custom_module.code_sha256,
        random_source="as its own code draws them",
    ),
    Library(
        has=timm_models.has,
        find=timm_models.find,
        named_weights=timm_models.named_weights,
        packages=("timm",),
        resolve=timm_models.with_tag,
        convert=timm_models.convert,
    ),
    Library(
        has=efficientnet_lite.has,
        find=efficientnet_lite.find,
        named_weights=efficientnet_lite.named_weights,
        packages=("timm",),
        known_digest=efficientnet_lite.known_digest,
        convert=efficientnet_lite.convert,
        accuracy=efficientnet_lite.accuracy,
    ),
    Library(
        has=lambda _: True,
        find=torchvision_models.find,
        named_weights=torchvision_models.named_weights,
        known_digest=torchvision_models.known_digest,
        convert=torchvision_models.convert,
        accuracy=torchvision_models.accuracy,
    ),
)


def library_of(name: str) -> Library:
    """Return the library that a network is of, by its name as in ``backbone.name``."""
    return next(library for library in LIBRARIES if library.has(name))


def find(name: str, parts: PartsParams | None = None) -> Architecture:
    """Return the description of a network.

    Args:
        name: a torchvision classification model, an EfficientNet-Lite, ``timm/`` with one of timm's, a file that ends
            in ``.onnx``, or ``package.module:callable``.
        parts: what its layers are for, instead of what is known or found out.

    Raises:
        UserError: there is no such network, or its layers can't be told apart.
    """
    return library_of(name).find(name, parts)


def packages(name: str) -> list[str]:
    """Return the packages that a network needs besides torch and torchvision."""
    return list(library_of(name).packages)


def files(name: str) -> list[Path]:
    """Return the files of the user's that a network is made from; none for the networks of libraries.

    Raises:
        UserError: the source can't be imported or read.
    """
    return library_of(name).files(name)


def code_sha256(name: str) -> str:
    """Return a digest of the source of the user's own architecture or ONNX file, empty for the networks of libraries.

    Raises:
        UserError: the source can't be imported or read.
    """
    return library_of(name).code_sha256(name)
