"""A folder a class, with or without folders of splits above."""

from collections.abc import Iterator
from pathlib import Path

from tasks.data.sources.links import walk
from tasks.data.sources.listing import SPLIT_FOLDERS, LabelledFile
from tasks.errors import UserError


def files(root: Path, *, follow: bool = False) -> Iterator[LabelledFile]:
    """Yield the files of every class folder; hidden files and folders are left out.

    Args:
        root: the folder that the classes, or the splits, are in.
        follow: whether linked folders in class folders are entered.

    Raises:
        UserError: a class is empty, splits are beside other folders, or there is no train folder among them.
    """
    folders = subfolders(root)
    splits = {folder: SPLIT_FOLDERS.get(folder.name.lower(), "") for folder in folders}
    if folders and all(splits.values()):
        if "train" not in splits.values():
            raise UserError(f"{root} has the splits {', '.join(f.name for f in folders)} but no train folder: add one")
        for folder, split in splits.items():
            yield from _classes(root, folder, split, follow=follow)
    elif any(split and subfolders(folder) for folder, split in splits.items()):
        other = next(folder for folder, split in splits.items() if not split)
        raise UserError(f"{root} has folders of splits beside the folder {other.name}: move it into a split or away")
    else:
        yield from _classes(root, root, "", follow=follow)


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _classes(root: Path, above: Path, split: str, *, follow: bool) -> Iterator[LabelledFile]:
    for folder in subfolders(above):
        paths = list(_files_below(folder, follow=follow))
        if not paths:
            raise UserError(f"the class folder {folder} is empty: add images to it or remove it")
        for path in paths:
            yield LabelledFile(path.relative_to(root).as_posix(), folder.name, split=split)


def _files_below(folder: Path, *, follow: bool) -> Iterator[Path]:
    for parent, folders, names in walk(folder, follow=follow):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield Path(parent, name)
