"""Batches of images that are put into a folder which is watched."""

import shutil
from pathlib import Path

from PIL import Image, ImageOps

from tests.support.cells import write_cells


def write_batches(folder: Path) -> None:
    """Write the first images, those of a class that nobody knows yet, and images with swapped labels."""
    cells = write_cells(folder / "cells", 80)
    intact, broken = (sorted((cells / label).iterdir()) for label in ("intact", "broken"))
    _put(intact[:40], folder / "first/intact")
    _put(broken[:40], folder / "first/broken")
    _put_negatives(intact[:40], folder / "of_a_new_class/negative")
    _put(intact[40:], folder / "swapped/broken")
    _put(broken[40:], folder / "swapped/intact")


def _put(cells: list[Path], target: Path) -> None:
    """Copy images into a folder."""
    target.mkdir(parents=True)
    for cell in cells:
        shutil.copy(cell, target)


def _put_negatives(cells: list[Path], target: Path) -> None:
    """Write images into a folder as negatives."""
    target.mkdir(parents=True)
    for cell in cells:
        ImageOps.invert(Image.open(cell)).save(target / cell.name)
