"""What to write as ``data.path`` where the images are not where the params say."""

import difflib
from collections import deque
from pathlib import Path

from tasks.data.sources import file_kinds, table_discovery
from tasks.data.sources.file_names import printable
from tasks.params import TABLES

LEVELS = 3  # below the folder that is named
MOST_FOLDERS = 2000  # that are looked into


def suggest_folder(root: Path) -> str:
    """Return what to write for the nearest folder that has class folders; empty where there is no single one."""
    if _holds_classes(root.absolute().parent) and _has_images(root):
        return f"write 'path: {_above(root)}', which has the class folders"
    candidates = _nearest_with_classes(root)
    if len(candidates) != 1:
        return ""
    return f"write 'path: {printable(candidates[0].as_posix())}', which has the class folders"


def suggest_table(root: Path) -> str:
    """Return what to write for the single table in a folder, or an empty text where there is none or several."""
    manifest = table_discovery.manifest_in(root)
    if manifest:
        return f"write 'source: manifest' to have {manifest.name} in it read"
    tables = [path for path in _visible(root) if path.is_file() and path.suffix.lower() in TABLES]
    if len(tables) != 1:
        return ""
    return f"write 'source: manifest' and 'path: {printable(tables[0].as_posix())}' to have the table in it read"


def suggest_name(path: Path) -> str:
    """Return ``: did you mean 'x'?`` for what lies where a missing path should, under a name like it."""
    there = next((folder for folder in path.absolute().parents if folder.is_dir()), None)
    if there is None:
        return ""
    missing = path.absolute().relative_to(there).parts
    close = difflib.get_close_matches(missing[0], [other.name for other in _visible(there)], n=1, cutoff=0.6)
    if not close:
        return ""
    meant = Path(*path.parts[: len(path.parts) - len(missing)], close[0], *missing[1:])
    return f" (did you mean '{printable(meant.as_posix())}'?)" if meant.exists() else ""


def _nearest_with_classes(root: Path) -> list[Path]:
    """Return the folders on the uppermost level below a folder on which any has class folders."""
    level, seen = [root], 0
    for _ in range(LEVELS):
        level = [inner for folder in level for inner in _visible(folder) if inner.is_dir()]
        seen += len(level)
        if seen > MOST_FOLDERS:
            return []
        if with_classes := [folder for folder in level if _holds_classes(folder)]:
            return with_classes
    return []


def _holds_classes(folder: Path) -> bool:
    """Return whether at least two folders directly in a folder have images directly in them."""
    waiting, classes = deque(path for path in _visible(folder) if path.is_dir()), 0
    while waiting and classes < 2:
        classes += _has_images(waiting.popleft())
    return classes > 1


def _has_images(folder: Path) -> bool:
    return any(file_kinds.file_kind(path.name) == file_kinds.IMAGE for path in _visible(folder))


def _above(root: Path) -> str:
    above = root.parent if root.name not in {"", ".."} and root.parent != root else root / ".."
    return printable(above.as_posix())


def _visible(folder: Path) -> list[Path]:
    """Return what is in a folder but for what is hidden or a system's, sorted; nothing if it may not be read."""
    try:
        return sorted(path for path in folder.iterdir() if not file_kinds.folder_kind(path.name))
    except OSError:
        return []
