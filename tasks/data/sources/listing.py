"""What every source gives: labelled files below one folder."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
UNLABELLED = "unlabelled images"  # which the champion scores
ESCAPES = (
    "is empty",
    "has a NUL character",
    "has a backslash: write forward slashes",
    "is absolute: write it relative to the folder",
    "leaves the folder by '..'",
)


@dataclass(frozen=True)
class LabelledFile:
    """A file that claims to be an image.

    Attributes:
        path: relative to the root of what was found, with forward slashes.
        label: its class.
        group: what it shares with others that belong together (a patient, a module, a device), or empty; images of
            one group never cross a split.
        subset: a kind of image that metrics are also given for (a cell type, a device), or empty.
        split: ``train``, ``val`` or ``test`` where the source already decided, else empty.
        weight: how much it counts in training.
    """

    path: str
    label: str
    group: str = ""
    subset: str = ""
    split: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class PassedOver:
    """A file of a source that is not used, though nothing is wrong with it.

    Attributes:
        path: relative to the root of what was found, with forward slashes.
        kind: why, in one or two words that a count can stand before: ``system files``, ``unlabelled images``.
    """

    path: str
    kind: str


@dataclass(frozen=True)
class Found:
    """The labelled files of a source.

    Attributes:
        root: the folder that their paths are relative to.
        files: sorted by path.
        passed_over: the source's other files; every file is in one of the two lists.
        notes: sentences on how the source was understood.
    """

    root: Path
    files: list[LabelledFile]
    passed_over: list[PassedOver] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def seen_from(self, root: Path, notes: Sequence[str] = ()) -> "Found":
        """Return the same with paths from another root, and with other notes before its own."""

        def moved(path: str) -> str:
            return os.path.relpath(self.root / path, root)

        return Found(
            root,
            [replace(file, path=moved(file.path)) for file in self.files],
            [replace(file, path=moved(file.path)) for file in self.passed_over],
            [*notes, *self.notes],
        )


def is_unicode(text: str) -> bool:
    """Return whether a name is Unicode, and not bytes that are none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def kept(text: str) -> str:
    """Return a name that tables can keep: as it is, but for bytes that are no Unicode, which become ``\\xe9``."""
    return text if is_unicode(text) else os.fsencode(text).decode("utf-8", "backslashreplace")


def shown(text: str) -> str:
    """Return a name that can be printed: as it is kept, but for line breaks and the like, which become ``\\n``."""
    name = kept(text)
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def plain(path: str) -> str:
    """Return a relative path in its shortest spelling: ``a/b`` for ``./a//b``."""
    return PurePosixPath(path).as_posix()


def escape(path: str) -> str:
    """Return which of ``ESCAPES`` a relative path makes, or an empty text: it names a file inside its folder."""
    empty, nul, backslash, absolute, parent = ESCAPES
    if plain(path) == ".":
        return empty
    if "\0" in path:
        return nul
    if "\\" in path:
        return backslash
    if path.startswith("/") or re.match(r"[A-Za-z]:/", path):
        return absolute
    return parent if ".." in PurePosixPath(path).parts else ""
