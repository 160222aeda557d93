"""ONNX files as they are read: the graph, its digest, and the files beside it."""

import logging
from pathlib import Path
from typing import Any

from tasks.backbones.onnx_inputs import UnfitError, fixed_size
from tasks.errors import UserError, reason_of
from tasks.files import digest_of, sha256_of

PACKAGES = ("onnx", "onnx2torch", "onnxruntime", "onnxscript")


def sha256(name: str) -> str:
    """Return the digest of a file, and of the files beside it that it keeps weights in.

    Raises:
        UserError: the file can't be read.
    """
    try:
        digests = [sha256_of(file) for file in files(name)]
    except OSError as error:
        raise _unreadable(name, error) from error
    return digest_of(digests) if len(digests) > 1 else digests[0]


def files(name: str) -> list[Path]:
    """Return a file, and the files beside it that it keeps weights in.

    Raises:
        UserError: the file can't be read.
    """
    file, model = file_of(name), read(name, external=False)
    beside = sorted({entry.value for tensor in model.graph.initializer for entry in tensor.external_data
                     if entry.key == "location"})  # fmt: skip
    return [file, *(file.parent / other for other in beside)]


def file_of(name: str) -> Path:
    """Return the file that ``backbone.name`` names.

    Raises:
        UserError: it does not exist.
    """
    file = Path(name).expanduser()
    if not file.is_file():
        raise UserError(f"params.yaml: backbone.name: the file {name} does not exist")
    return file


def read(name: str, *, external: bool = True) -> Any:
    """Return the content of a file, an ``onnx.ModelProto``.

    Args:
        name: of the file.
        external: read the weights that it keeps in files beside it, too, and check that it is valid.

    Raises:
        UserError: a library that ONNX files need is missing, or the file can't be read or takes no images.
    """
    onnx = _libraries()
    try:
        model = onnx.load(file_of(name), load_external_data=external)
        if external:
            onnx.checker.check_model(model)
            fixed_size(model)
    except UnfitError as error:
        raise UserError(f"params.yaml: backbone.name: {name} {error}") from error
    except UserError:
        raise
    except Exception as error:  # whatever a damaged file makes the library raise
        raise _unreadable(name, error) from error
    return model


def _unreadable(name: str, error: Exception) -> UserError:
    return UserError(f"params.yaml: backbone.name: {name} can't be read as ONNX: {reason_of(error)}")


def _libraries() -> Any:
    try:
        import onnx
        import onnx2torch  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"params.yaml: backbone.name asks for an ONNX file, which needs {', '.join(PACKAGES)}: "
            "pip install -e '.[onnx]'"
        ) from error
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    return onnx
