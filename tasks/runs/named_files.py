"""Links to the files that params name - weights, an ONNX file, a module - by which DVC sees that one was overwritten.

DVC follows a link to a file, so what it records of these folders is the content of the files, wherever they are.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from tasks import layout
from tasks.files import atomic_path
from tasks.params import BackboneParams

NOTHING = "nothing.txt"  # as DVC warns of empty folders
ELSEWHERE = "elsewhere"


def link(params: BackboneParams, network: str = "") -> None:
    """Link to the files that params name now of a network, instead of those that they named before."""
    from tasks.backbones import catalogue, weights

    file = weights.file_of(params)
    named_weights, named_network = layout.named(network)
    _link([file] if file else [], named_weights)
    _link(catalogue.files(params.name), named_network)


def forget_what_is_gone() -> None:
    """Remove links to files that are gone, on which DVC fails: params may name others by now."""
    of_others = [folder for path in layout.NETWORKS.glob("*/") for folder in layout.named(path.name)]
    for folder in (*layout.named(), *of_others):
        for path in folder.rglob("*"):
            if path.is_symlink() and not path.exists():
                path.unlink()


def _link(files: Sequence[Path], folder: Path) -> None:
    targets = [file.absolute() for file in files]
    inside = [file for file in targets if file.is_relative_to(Path.cwd())]
    outside = [file for file in targets if file not in inside]
    with atomic_path(folder) as made:
        made.mkdir(parents=True)
        for file in inside:  # by a relative link, as a working copy may be moved as a whole
            place = file.relative_to(Path.cwd())
            _symlink(made / place, os.path.relpath(place, (folder / place).parent))
        for file in outside:
            top = os.path.commonpath([other.parent for other in outside])
            _symlink(made / ELSEWHERE / file.relative_to(top), str(file))
        if not files:
            (made / NOTHING).write_text("params.yaml names no such file.\n")


def _symlink(link: Path, target: str) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
