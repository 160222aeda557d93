"""Names of files: as tables can keep them and people can read them; and paths, checked to stay in their folder."""

import os
import re
from pathlib import PurePosixPath

PATH_PROBLEMS = (
    "is empty",
    "has a NUL character",
    "has a backslash: write forward slashes",
    "is absolute: write it relative to the folder",
    "leaves the folder by '..'",
)


def is_unicode(name: str) -> bool:
    """Return whether a name is Unicode, and not bytes that are none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_unicode(name: str) -> str:
    """Return a name that tables can keep: as it is, but for bytes that are no Unicode, which become ``\\xe9``."""
    return name if is_unicode(name) else os.fsencode(name).decode("utf-8", "backslashreplace")


def printable(name: str) -> str:
    """Return a name that can be printed: as tables keep it, but for line breaks and the like, which become ``\\n``."""
    name = as_unicode(name)
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def shortest(path: str) -> str:
    """Return a relative path in its shortest spelling: ``a/b`` for ``./a//b``."""
    return PurePosixPath(path).as_posix()


def path_problem(path: str) -> str:
    """Return which of ``PATH_PROBLEMS`` a relative path has; empty where it names a file inside its folder."""
    empty, nul, backslash, absolute, parent = PATH_PROBLEMS
    if shortest(path) == ".":
        return empty
    if "\0" in path:
        return nul
    if "\\" in path:
        return backslash
    if path.startswith("/") or re.match(r"[A-Za-z]:/", path):
        return absolute
    return parent if ".." in PurePosixPath(path).parts else ""
