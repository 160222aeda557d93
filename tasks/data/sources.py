"""Where images come from: a source lists labelled files, and knows nothing of what happens to them."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tasks.errors import UserError
from tasks.files import replacing
from tasks.params import DataParams

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}

ELPV_NOTICE = """\
Electroluminescence images of solar cells: the ELPV data set, from the package elpv-dataset.
Licence: Creative Commons BY-NC-SA 4.0 (https://creativecommons.org/licenses/by-nc-sa/4.0/): no commercial use.
Source: S. Deitsch et al., "Automatic classification of defective photovoltaic module cells in electroluminescence
images", Solar Energy 185 (2019), 455-468; C. Buerhop-Lutz et al., EU PVSEC (2018).
"""


@dataclass(frozen=True)
class LabelledFile:
    """A file that claims to be an image.

    Attributes:
        path: relative to the data folder, with forward slashes.
        label: its class.
        group: a known subset that metrics are also given for (a cell type, a device), or empty.
        split: ``train``, ``val`` or ``test`` where the source already decided, else empty.
    """

    path: str
    label: str
    group: str = ""
    split: str = ""


def unpack_packaged(source: str, target: Path) -> int:
    """Put the images that a package carries into ``target`` and return how many; an empty folder for other sources.

    Raises:
        UserError: the package is not installed.
    """
    with replacing(target) as folder:
        folder.mkdir()
        if source != "elpv":
            return 0
        spec = importlib.util.find_spec("elpv_dataset")
        if spec is None or spec.origin is None:
            raise UserError("the package elpv-dataset is not installed: install the project as its README says")
        packaged = Path(spec.origin).parent / "data"
        shutil.copytree(packaged / "images", folder / "images")
        shutil.copyfile(packaged / "labels.csv", folder / "labels.csv")
        (folder / "LICENSE.txt").write_text(ELPV_NOTICE, encoding="utf-8")
    return sum(1 for _ in (target / "images").iterdir())


def list_files(params: DataParams) -> list[LabelledFile]:
    """List the labelled files of a source, sorted by path.

    Raises:
        UserError: the folder is missing, a class is empty, there are fewer than two classes, or a name isn't Unicode.
    """
    root = Path(params.path)
    if not root.is_dir():
        raise UserError(f"the data folder {root} does not exist: correct data.path in params.yaml")
    files = list(_elpv(root, params.defective_over) if params.source == "elpv" else _folder(root))
    files.sort(key=lambda file: file.path)
    odd = next((file.path for file in files if not _is_unicode(file.path)), None)
    if odd is not None:
        raise UserError(f"the name of the file {odd!a} in {root} is not valid Unicode: rename it")
    labels = sorted({file.label for file in files})
    if len(labels) < 2:
        found = f"only the class '{labels[0]}'" if labels else "no class folders"
        raise UserError(f"{root} has {found}: put the images of each of at least two classes into a folder of its own")
    return files


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _elpv(root: Path, defective_over: float) -> Iterator[LabelledFile]:
    if not (root / "labels.csv").is_file():
        raise UserError(
            f"{root} has no labels.csv: run 'dvc repro' to put the packaged images there, or set data.source to folder"
        )
    table = pd.read_csv(root / "labels.csv", sep=r"\s+", header=None, names=["path", "probability", "cell"])
    for path, probability, cell in table.itertuples(index=False):
        yield LabelledFile(path, "defective" if probability > defective_over else "functional", group=cell)


def _folder(root: Path) -> Iterator[LabelledFile]:
    folders = _subfolders(root)
    splits = {folder: SPLIT_FOLDERS.get(folder.name.lower(), "") for folder in folders}
    if folders and all(splits.values()):
        if "train" not in splits.values():
            raise UserError(f"{root} has the splits {', '.join(f.name for f in folders)} but no train folder: add one")
        for folder, split in splits.items():
            yield from _classes(root, folder, split)
    elif any(split and _subfolders(folder) for folder, split in splits.items()):
        other = next(folder for folder, split in splits.items() if not split)
        raise UserError(f"{root} has folders of splits beside the folder {other.name}: move it into a split or away")
    else:
        yield from _classes(root, root, "")


def _classes(root: Path, above: Path, split: str) -> Iterator[LabelledFile]:
    for folder in _subfolders(above):
        paths = list(_files_below(folder))
        if not paths:
            raise UserError(f"the class folder {folder} is empty: add images to it or remove it")
        for path in paths:
            yield LabelledFile(path.relative_to(root).as_posix(), folder.name, split=split)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(parent, name)
