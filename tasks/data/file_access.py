"""Which files may be opened as images: those that are there, in the data folder, and within the limits."""

import os
import stat
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from tasks.data.image_facts import ImageFacts
from tasks.params import DataParams

LINKS_OUTSIDE = "links to outside the data folder, which 'follow_links: true' under 'data' allows"


def name_problem(name: str) -> ImageFacts | None:
    """Return why a file isn't read whose name nothing could keep, if it is one."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return ImageFacts(problem="unreadable: its name is no Unicode: rename it", kind="unreadable")
    return None


def access_problem(root: Path, name: str, params: DataParams, links_to: Sequence[Path]) -> ImageFacts | None:
    """Return why a file isn't read, if it isn't."""
    path = root / name
    if leads_outside(root, name, links_to):
        is_link = Path(os.path.normpath(path)).is_relative_to(os.path.normpath(root))
        problem = LINKS_OUTSIDE if is_link else "lies outside the data folder"
        return ImageFacts(problem=problem, kind="outside")
    try:
        facts = path.stat()
    except FileNotFoundError:
        gone = "it links to a file that is gone" if path.is_symlink() else "there is no such file"
        return ImageFacts(problem=gone, kind="missing")
    if not stat.S_ISREG(facts.st_mode):
        return ImageFacts(problem="there is no such file", kind="missing")
    if facts.st_size == 0:
        return ImageFacts(problem="unreadable: the file is empty", kind="unreadable")
    if facts.st_size > params.max_bytes:
        problem = f"{facts.st_size} bytes are more than data.max_bytes ({params.max_bytes})"
        return ImageFacts(problem=problem, kind="too large")
    return None


def leads_outside(root: Path, name: str, links_to: Sequence[Path] = ()) -> bool:
    """Return whether a file is neither below ``root``, nor behind a link below a folder that links may lead to."""
    root = root.absolute()
    path = root / name
    if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(root)):
        return True
    is_link = path.is_symlink() or path.name == ".."
    where = path.resolve() if is_link else _resolved(path.parent) / path.name
    return not any(where.is_relative_to(_resolved(folder)) for folder in (root, *links_to))


@lru_cache(maxsize=4096)
def _resolved(folder: Path) -> Path:
    """Return where a folder really is, which is looked up once."""
    return folder.resolve()
