"""Batches of images that are put into a folder which is watched."""

import shutil
from pathlib import Path

from PIL import Image, ImageOps


def put(cells: list[Path], target: Path) -> None:
    """Copy images into a folder."""
    target.mkdir(parents=True)
    for cell in cells:
        shutil.copy(cell, target)


def put_negatives(cells: list[Path], target: Path) -> None:
    """Write images into a folder as negatives."""
    target.mkdir(parents=True)
    for cell in cells:
        ImageOps.invert(Image.open(cell)).save(target / cell.name)
