"""A folder a class, with or without folders of splits above."""

import os
from collections.abc import Iterator
from pathlib import Path

from tasks.data.sources.listing import SPLIT_FOLDERS, LabelledFile
from tasks.errors import UserError


def files(root: Path) -> Iterator[LabelledFile]:
    """Yield the files of every class folder; hidden files and folders are left out.

    Raises:
        UserError: a class is empty, splits are beside other folders, or there is no train folder among them.
    """
    folders = subfolders(root)
    splits = {folder: SPLIT_FOLDERS.get(folder.name.lower(), "") for folder in folders}
    if folders and all(splits.values()):
        if "train" not in splits.values():
            raise UserError(f"{root} has the splits {', '.join(f.name for f in folders)} but no train folder: add one")
        for folder, split in splits.items():
            yield from _classes(root, folder, split)
    elif any(split and subfolders(folder) for folder, split in splits.items()):
        other = next(folder for folder, split in splits.items() if not split)
        raise UserError(f"{root} has folders of splits beside the folder {other.name}: move it into a split or away")
    else:
        yield from _classes(root, root, "")


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _classes(root: Path, above: Path, split: str) -> Iterator[LabelledFile]:
    for folder in subfolders(above):
        paths = list(_files_below(folder))
        if not paths:
            raise UserError(f"the class folder {folder} is empty: add images to it or remove it")
        for path in paths:
            yield LabelledFile(path.relative_to(root).as_posix(), folder.name, split=split)


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(parent, name)
