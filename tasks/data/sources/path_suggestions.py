"""Where the images may be meant to lie, when they are not where the params say."""

import difflib
from collections import deque
from pathlib import Path

from tasks.data.sources import file_kinds, tables
from tasks.data.sources.listing import shown
from tasks.params import TABLES

LEVELS = 3  # below the folder that is named
MOST_FOLDERS = 2000  # that are looked into


def better_folder(root: Path) -> str:
    """Return what to write for the nearest folder that has class folders, or an empty text where there is no single."""
    if _holds_classes(root.absolute().parent) and _has_images(root):
        return f"write 'path: {_above(root)}', which has the class folders"
    found = _nearest_with_classes(root)
    return f"write 'path: {shown(found[0].as_posix())}', which has the class folders" if len(found) == 1 else ""


def better_table(root: Path) -> str:
    """Return what to write for the single table in a folder, or an empty text where there is none or several."""
    known = tables.at_top(root)
    if known:
        return f"write 'source: manifest' to have {known.name} in it read"
    found = [path for path in _visible(root) if path.is_file() and path.suffix.lower() in TABLES]
    if len(found) != 1:
        return ""
    return f"write 'source: manifest' and 'path: {shown(found[0].as_posix())}' to have the table in it read"


def better_name(path: Path) -> str:
    """Return ``: did you mean 'x'?`` for what lies where a missing path should, under a name like it."""
    there = next((folder for folder in path.absolute().parents if folder.is_dir()), None)
    if there is None:
        return ""
    missing = path.absolute().relative_to(there).parts
    close = difflib.get_close_matches(missing[0], [other.name for other in _visible(there)], n=1, cutoff=0.6)
    if not close:
        return ""
    kept = Path(*path.parts[: len(path.parts) - len(missing)], close[0], *missing[1:])
    return f" (did you mean '{shown(kept.as_posix())}'?)" if kept.exists() else ""


def _nearest_with_classes(root: Path) -> list[Path]:
    """Return the folders on the uppermost level below a folder on which any has class folders."""
    level, seen = [root], 0
    for _ in range(LEVELS):
        level = [inner for folder in level for inner in _visible(folder) if inner.is_dir()]
        seen += len(level)
        if seen > MOST_FOLDERS:
            return []
        found = [folder for folder in level if _holds_classes(folder)]
        if found:
            return found
    return []


def _holds_classes(folder: Path) -> bool:
    """Return whether at least two folders directly in a folder have images directly in them."""
    waiting, found = deque(path for path in _visible(folder) if path.is_dir()), 0
    while waiting and found < 2:
        found += _has_images(waiting.popleft())
    return found > 1


def _has_images(folder: Path) -> bool:
    return any(file_kinds.file_kind(path.name) == file_kinds.IMAGE for path in _visible(folder))


def _above(root: Path) -> str:
    above = root.parent if root.name not in {"", ".."} and root.parent != root else root / ".."
    return shown(above.as_posix())


def _visible(folder: Path) -> list[Path]:
    """Return what is in a folder but for what is hidden or a system's, sorted; nothing if it may not be read."""
    try:
        return sorted(path for path in folder.iterdir() if not file_kinds.folder_kind(path.name))
    except OSError:
        return []
