"""What every source gives: the labelled files below one folder, and the files that it passed over."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

UNLABELLED = "unlabelled images"  # which the champion scores


@dataclass(frozen=True)
class LabelledFile:
    """A file that claims to be an image.

    Attributes:
        path: relative to the root of the listing, with forward slashes.
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
        path: relative to the root of the listing, with forward slashes.
        kind: why, in one or two words that a count can stand before: ``system files``, ``unlabelled images``.
    """

    path: str
    kind: str


@dataclass(frozen=True)
class SourceListing:
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

    def seen_from(self, root: Path, notes: Sequence[str] = ()) -> "SourceListing":
        """Return the same with paths from another root, and with other notes before its own."""

        def moved(path: str) -> str:
            return os.path.relpath(self.root / path, root)

        return SourceListing(
            root,
            [replace(file, path=moved(file.path)) for file in self.files],
            [replace(file, path=moved(file.path)) for file in self.passed_over],
            [*notes, *self.notes],
        )
