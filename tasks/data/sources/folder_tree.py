"""The tree of folders below a folder, read once: in each the images, and what is passed over."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tasks.data.sources import file_kinds
from tasks.data.sources.file_names import as_unicode, printable
from tasks.data.sources.listing import PassedOver
from tasks.errors import UserError

LINKS, LINKS_BACK = "links to folders", "links that lead back"

IsImage = Callable[[str], bool]


@dataclass
class Folder:
    """A folder, without those in it that systems made.

    Attributes:
        path: relative to the top of the tree, with forward slashes; empty for the top itself.
        folders: in it, sorted by name.
        images: paths of those directly in it, sorted.
        passed_over: what else is in it, at any depth where a system made the folder.
        links: names of links to folders, where those are not followed.
        count: of the images in it at any depth.
    """

    path: str = ""
    folders: list["Folder"] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    count: int = 0

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def full(self) -> list["Folder"]:
        """The folders in it that have images at any depth."""
        return [folder for folder in self.folders if folder.count]

    def below(self) -> Iterator["Folder"]:
        """Yield this folder and all in it, from the top down."""
        waiting = [self]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting += reversed(folder.folders)


def read_tree(root: Path, is_image: IsImage, *, follow: bool = False) -> Folder:
    """Read a folder and all below it.

    Args:
        root: the folder.
        is_image: tells of a file, by its path below the root, what its name doesn't.
        follow: whether links to folders outside of the root are followed. A folder is entered once, so circles end.

    Raises:
        UserError: a folder may not be read.
    """
    top = Folder()
    from_the_top, waiting = [top], [top]
    behind_links = _BehindLinks(root) if follow else None
    while waiting:
        folder = waiting.pop()
        _fill(folder, root, is_image, behind_links)
        from_the_top += folder.folders
        waiting += folder.folders
    for folder in reversed(from_the_top):
        folder.count = len(folder.images) + sum(inner.count for inner in folder.folders)
    return top


class _BehindLinks:
    """The folders outside of the root that links led to, each of which is entered once."""

    def __init__(self, root: Path) -> None:
        self._root, self._entered = root.resolve(), set[Path]()

    def is_new(self, folder: Path) -> bool:
        """Return whether a folder was not entered yet, and will not be without links; remember it."""
        place = folder.resolve()
        if place.is_relative_to(self._root) or self._root.is_relative_to(place) or place in self._entered:
            return False
        self._entered.add(place)
        return True

    def sort(self, parent: Path, folders: list[str], links: list[str]) -> tuple[list[str], list[str]]:
        """Return the names of what is entered, links among it, and of what would be entered again, each sorted."""
        if not parent.resolve().is_relative_to(self._root):
            links, folders = sorted([*links, *folders]), []
        new = [name for name in links if self.is_new(parent / name)]
        return sorted([*folders, *new]), [name for name in links if name not in new]


def _fill(folder: Folder, root: Path, is_image: IsImage, behind_links: _BehindLinks | None) -> None:
    """Read what lies directly in a folder, and all below those folders in it that a system made."""
    folders, links, files = _entries(root / folder.path)
    links_back: list[str] = []
    if behind_links:
        folders, links_back = behind_links.sort(root / folder.path, folders, links)
        links = []
    for name in folders:
        kind, path = file_kinds.folder_kind(name), _join(folder.path, name)
        if kind:
            folder.passed_over += [PassedOver(as_unicode(file), kind) for file in _files_below(root, path)]
        else:
            folder.folders.append(Folder(path))
    folder.links = [name for name in links if not file_kinds.folder_kind(name)]
    folder.passed_over += [PassedOver(as_unicode(_join(folder.path, name)), LINKS) for name in links]
    folder.passed_over += [PassedOver(as_unicode(_join(folder.path, name)), LINKS_BACK) for name in links_back]
    _sort_files(folder, files, is_image)


def _sort_files(folder: Folder, files: list[str], is_image: IsImage) -> None:
    """Tell the images among a folder's files from what is passed over."""
    stems = file_kinds.stems(files)
    for name in files:
        path, kind = _join(folder.path, name), file_kinds.file_kind(name)
        if kind == file_kinds.UNKNOWN:
            kind = file_kinds.IMAGE if is_image(path) else file_kinds.OTHER
        elif file_kinds.is_original(name, stems):
            kind = file_kinds.SIDECAR
        if kind == file_kinds.IMAGE:
            folder.images.append(path)
        else:
            folder.passed_over.append(PassedOver(as_unicode(path), kind))


def _entries(place: Path) -> tuple[list[str], list[str], list[str]]:
    """Return the names of folders, of links to folders, and of all else in a folder, each sorted."""
    folders, links, files = [], [], []
    try:
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.is_symlink() and Path(entry.path).is_dir():
                    links.append(entry.name)
                else:
                    files.append(entry.name)
    except PermissionError as error:
        raise UserError(f"the folder {printable(str(place))} may not be read: give yourself the right to") from error
    return sorted(folders), sorted(links), sorted(files)


def _files_below(root: Path, path: str) -> Iterator[str]:
    """Yield all files in a folder that a system made; one that only the system may read stands for itself."""
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        try:
            folders, links, files = _entries(root / folder)
        except UserError:
            yield folder
            continue
        yield from (_join(folder, name) for name in (*links, *files))
        waiting += [_join(folder, name) for name in folders]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
