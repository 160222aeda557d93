"""Files that are whole or absent, and the digests that identify them.

``atomic_path`` is the one way in which a file or a folder is written: ``write_bytes`` and ``write_json`` go through it.
"""

import errno
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tasks.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
AGAIN = "and run the same command again; finished work was kept"


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that replaces it when the block ends well.

    The block writes a file or makes a folder at the temporary path; a file is on the disk before it takes its place. If
    the block raises, the temporary path is removed and ``target`` is untouched.

    Raises:
        UserError: the disk, or the user's quota of it, is full, or the folder may not be written.
    """
    with naming_what_the_disk_refuses(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_what_the_dead_left(target)
        scratch = Path(tempfile.mkdtemp(prefix=f"{_scratch(target)}{os.getpid()}.", dir=target.parent))
        temporary = scratch / target.name
        try:
            yield temporary
            if temporary.is_file():
                _flush(temporary)
            if temporary.is_dir() and target.is_dir():
                target.rename(scratch / "replaced")
            temporary.replace(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _flush(file: Path) -> None:
    """Wait until all of a file is on the disk."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _scratch(target: Path) -> str:
    """Return how the names of this machine's temporary folders for a target begin; its process's number follows."""
    return f".{target.name}.{platform.node()}-"


def _remove_what_the_dead_left(target: Path) -> None:
    for left in target.parent.glob(f"{glob.escape(_scratch(target))}*"):
        number = left.name.removeprefix(_scratch(target)).split(".")[0]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def naming_what_the_disk_refuses(target: Path | None = None) -> Iterator[None]:
    """Turn a full disk, and a file that may not be read or written, into a sentence.

    Args:
        target: what the block writes; None: whatever the error names.

    Raises:
        UserError: the disk, or the user's quota of it, is full, or a file may not be read or written.
    """
    try:
        yield
    except Exception as error:  # of a full disk, libraries in Rust raise errors of their own
        named = error.filename if isinstance(error, OSError) else None
        where = target or named or "a file"
        if is_full_disk(error):
            raise UserError(f"no space left while writing {where}: free some disk space {AGAIN}") from error
        if isinstance(error, OSError) and error.errno in _REFUSED:
            refused = named or where
            raise UserError(f"{error.strerror}: {refused}: let this user write there {AGAIN}") from error
        raise


def is_full_disk(error: Exception) -> bool:
    """Return whether the disk, or the user's quota of it, was full; libraries in Rust say it in the error's text."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    number = re.search(r"\(os error (\d+)\)", str(error))
    return number is not None and int(number[1]) in _FULL


def write_bytes(target: Path, content: bytes) -> None:
    """Write ``content`` to ``target``, whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_at(file: int, content: "bytes | memoryview[int]", start: int) -> None:
    """Write all of ``content``: where space runs out, the system writes a part, and an error comes with the next."""
    rest = memoryview(content)
    while rest:
        written = os.pwrite(file, rest, start)
        rest, start = rest[written:], start + written


def write_json(target: Path, content: Any) -> None:
    """Write ``content`` as indented JSON with a final newline; NaN is refused rather than written."""
    write_bytes(target, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_json(source: Path) -> Any:
    """Read a JSON file."""
    return json.loads(source.read_text(encoding="utf-8"))


def sha256_of(source: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    with source.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of(content: Any) -> str:
    """Return a SHA-256 over the canonical JSON of plain data, for identities of params and the like."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def digest_of_tree(folder: Path, pattern: str, keep: Callable[[Path], bool] = lambda _: True) -> str:
    """Return a SHA-256 over the names and contents of the files below ``folder`` that match ``pattern``."""
    files = sorted(path for path in folder.rglob(pattern) if keep(path))
    return digest_of([(path.relative_to(folder).as_posix(), sha256_of(path)) for path in files])
