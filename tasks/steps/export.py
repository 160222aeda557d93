"""The champion exported for other runtimes."""

import math
from pathlib import Path

import numpy as np

from tasks.arrays import Pixels
from tasks.errors import UserError
from tasks.files import atomic_path
from tasks.serving.champion import Champion
from tasks.serving.exports import FACTS, ONNX, TORCH, Export, check_libraries, export

CHECKED = 256  # images that the files are compared on
OURS = (ONNX, f"{ONNX}.data", TORCH, FACTS)


def check(output: Path) -> None:
    """Raise unless a folder can be written: it is not there, empty, or holds an export and nothing else.

    Raises:
        UserError: something else is in the folder, or a library is missing.
    """
    check_libraries()
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is no folder: name one that is written, with --output")
    others = [path.name for path in output.iterdir() if path.name not in OURS] if output.is_dir() else []
    if others:
        raise UserError(f"{output} holds something else than an export, such as {min(others)}: name another folder")


def export_champion(output: Path, model: str = "", images: Path | None = None) -> Export:
    """Write a champion as ONNX and as a program of torch.export; return what was measured.

    Args:
        output: the folder that is written, whole or not at all.
        model: address of a champion in the registry; empty: the registered one.
        images: folder of image files that the files are compared on; None: the validation split.

    Raises:
        UserError: there is no champion, no images to compare on, or a file that answers otherwise than the network.
    """
    from tasks.tracking import registry

    check(output)
    champion = Champion.read(registry.folder_of(model or registry.champion_uri()))
    pixels = _validation(champion) if images is None else _files(champion, images)
    with atomic_path(output) as temporary:
        return export(champion, pixels, temporary)


def _validation(champion: Champion) -> Pixels:
    """Return images of the validation split, spread over all of it."""
    from tasks.runs.prepared import PreparedData

    facts, data = champion.facts, PreparedData.read()
    if (data.size, data.channels) != (facts.data.side, facts.channels):
        raise UserError(
            f"the prepared images are {data.size} pixels of {data.channels} channels, the champion takes "
            f"{facts.data.side} of {facts.channels}: give a folder of images to compare on, with --images"
        )
    rows = data.rows("val")["row"].to_numpy(dtype=np.int64)
    chosen: Pixels = data.store[rows[_some(len(rows))]]
    return chosen


def _files(champion: Champion, folder: Path) -> Pixels:
    """Return images of a folder at the working size."""
    from tasks.runs.links import following_links
    from tasks.serving.scores import read_image

    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name one of image files, with --images")
    champion = following_links(champion, folder)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    read = (read_image(champion, folder, name)[0] for name in names[_some(len(names))])
    images = [pixels for pixels in read if pixels is not None]
    if not images:
        raise UserError(f"{folder} has no images that can be read: name one of image files, with --images")
    return np.array(images)


def _some(count: int) -> slice:
    """Return which of so many are compared: at most ``CHECKED``, evenly spread."""
    return slice(None, None, max(1, math.ceil(count / CHECKED)))
