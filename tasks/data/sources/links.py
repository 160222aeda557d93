"""Links among the images: which folders are entered, and what is said of them."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tasks.data.reading import leads_outside
from tasks.data.sources.listing import Found, PassedOver
from tasks.errors import listed
from tasks.params import DataParams

NOT_ENTERED, ENTERED_BEFORE = "linked folders", "linked folders that lead back"
NAMED = 5


def walk(folder: Path, *, follow: bool) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield what ``os.walk`` does, sorted by name; the names of folders may be taken out of their list.

    Linked folders are entered if they are followed. A folder is entered once, so that circles end.
    """
    entered = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, followlinks=follow):
        folders.sort()
        yield parent, folders, sorted(names)
        if follow:
            folders[:] = [name for name in folders if _is_new(Path(parent, name), entered)]


def _is_new(folder: Path, entered: set[str]) -> bool:
    place, before = os.path.realpath(folder), len(entered)
    entered.add(place)
    return len(entered) > before


def counted(found: Found, params: DataParams) -> Found:
    """Return what was found, with the linked folders that were not entered, and how many images links lead to."""
    left = _not_entered(found)
    notes, kind = list(found.notes), ENTERED_BEFORE if params.follow_links else NOT_ENTERED
    if left and params.follow_links:
        notes.append(f"{len(left)} {kind} to folders that were read, or above them: {listed(left, NAMED)}")
    elif left:
        notes.append(f"{len(left)} {kind} were not entered, which data.follow_links asks for: {listed(left, NAMED)}")
    if params.follow_links:
        outside = [file.path for file in found.files if leads_outside(found.root, file.path)]
        if outside:
            notes.append(
                f"{len(outside)} of {len(found.files)} files lie outside of {params.path}, behind links that were "
                f"followed (data.follow_links): {listed(outside, NAMED)}"
            )
    return replace(found, passed_over=[*found.passed_over, *(PassedOver(path, kind) for path in left)], notes=notes)


def _not_entered(found: Found) -> list[str]:
    """Return the linked folders in which no file was found, in the folders in which some were."""
    entered = {folder for file in found.files for folder in PurePosixPath(file.path).parents}
    links = []
    for folder in entered:
        with os.scandir(found.root / folder) as entries:
            links += [
                folder / entry.name
                for entry in entries
                if entry.is_symlink() and entry.is_dir() and not entry.name.startswith(".")
            ]
    return sorted(link.as_posix() for link in links if link not in entered)
