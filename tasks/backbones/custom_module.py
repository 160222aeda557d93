"""Architectures of the user's own: a callable in a module, which returns a network with its classifier."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from tasks.backbones.architecture import Architecture
from tasks.backbones.from_callable import Maker, describe
from tasks.backbones.local_imports import imported
from tasks.errors import LONGEST, UserError, nearest, one_line
from tasks.files import digest_of, digest_of_tree, sha256_of
from tasks.params import PartsParams


def has(name: str) -> bool:
    """Return whether a name is that of the user's own architecture."""
    return ":" in name


def find(name: str, parts: PartsParams | None = None) -> Architecture:
    """Return the description of an architecture, ``package.module:callable``, imported from the current folder.

    The callable takes no arguments, or the working size as ``size``, ``img_size`` or ``image_size``. Its input
    statistics are taken for ImageNet's.

    Args:
        name: where the callable is.
        parts: what the layers are for; unset, it is found out from a forward pass.

    Raises:
        UserError: there is no such callable, or what it returns is not a classifier of images.
    """
    return describe(name, _maker(name), parts)


def code_sha256(name: str) -> str:
    """Return a digest of the source of an architecture: of its package or module, and of what that imports from here.

    Raises:
        UserError: the module can't be imported.
    """
    package = _package(name)
    digest = digest_of_tree(package, "*.py") if package.is_dir() else sha256_of(package)
    others = imported(_sources(package), Path.cwd())
    return digest_of([digest, *map(sha256_of, others)]) if others else digest


def files(name: str) -> list[Path]:
    """Return the source files of an architecture: of its package or module, and those that it imports from here.

    Raises:
        UserError: the module can't be imported.
    """
    sources = _sources(_package(name))
    return [*sources, *imported(sources, Path.cwd())]


def _package(name: str) -> Path:
    """Return the folder of the package that an architecture is in, or the file of its module where it is in none."""
    module = _module(name)
    package = sys.modules[module.__name__.partition(".")[0]]
    return Path(next(iter(package.__path__)) if hasattr(package, "__path__") else str(module.__file__))


def _sources(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py")) if package.is_dir() else [package]


def _module(name: str) -> ModuleType:
    module = name.partition(":")[0]
    try:
        with _current_folder_first():
            return importlib.import_module(module)
    except Exception as error:  # whatever the user's code raises
        raise UserError(
            f"params.yaml: backbone.name '{name}': importing {module} from {Path.cwd()} failed with "
            f"{type(error).__name__}: {one_line(error, LONGEST)}"
        ) from error


def _maker(name: str) -> Maker:
    module = _module(name)
    attribute = getattr(module, name.partition(":")[2], None)
    if not callable(attribute):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UserError(
            f"params.yaml: backbone.name '{name}': {module.__name__} has no callable '{name.partition(':')[2]}'"
            f"{nearest(name.partition(':')[2], known) if known else ''}"
        )
    maker: Maker = attribute
    return maker


@contextmanager
def _current_folder_first() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
