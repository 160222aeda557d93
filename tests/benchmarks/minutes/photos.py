"""A folder of photographs for a comparison in minutes, drawn from larger ones."""

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import typer

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def draw(folders: Sequence[Path], target: Path, a_class: int, seed: int = 0) -> Path:
    """Copy so many photographs of every class of some folders, at random, and return where they are.

    Args:
        folders: each with a folder a class.
        target: takes a folder a class; if it is there, it is what was drawn before.
        a_class: number of photographs.
        seed: of the draw.

    Raises:
        typer.BadParameter: a class has too few photographs, or two folders have the same class.
    """
    classes: dict[str, list[Path]] = {}
    for folder in folders:
        for place in sorted(path for path in folder.iterdir() if path.is_dir()):
            if place.name in classes:
                raise typer.BadParameter(f"--photos: class {place.name} is in two of the folders")
            classes[place.name] = sorted(file for file in place.iterdir() if file.suffix.lower() in SUFFIXES)
    if not classes:
        raise typer.BadParameter("--photos: name folders that have a folder a class")
    if few := [name for name, files in classes.items() if len(files) < a_class]:
        raise typer.BadParameter(f"--photos: fewer than {a_class} photographs of {', '.join(few)}")
    if target.is_dir():
        return target
    unfinished = target.with_name(f"{target.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    for name, files in sorted(classes.items()):
        (unfinished / name).mkdir(parents=True)
        for file in random.Random(f"{seed} {name}").sample(files, a_class):  # noqa: S311 - a draw of images
            shutil.copy(file, unfinished / name)
    unfinished.rename(target)
    return target
