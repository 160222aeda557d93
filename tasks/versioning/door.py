"""DVC's own door, kept shut while a flow works: ``dvc repro`` is refused at once, and a flow asks for it to end.

DVC marks what its commands read and write in ``.dvc/tmp/rwlock``, with their process; what it calls a blocker is a
process that is there. A flow marks that it reads all data, so that nothing may write them, and ``dvc status`` works.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from tasks import layout
from tasks.errors import UserError
from tasks.versioning.storage import no_repository

MARKS = "rwlock"
CLOCKS_DIFFER = 5.0  # seconds, of a process's start and a file's time at most


class DvcAtWorkError(UserError):
    """A command of DVC writes data here."""


@contextmanager
def kept_shut() -> Iterator[None]:
    """Let no command of DVC write data for as long as the block runs; this process may.

    Raises:
        DvcAtWorkError: one does.
        UserError: this is no DVC repository.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo
    from dvc.rwlock import rwlock

    try:
        repo = Repo()
    except DvcException as error:
        raise UserError(no_repository(error)) from error
    hardlink = repo.config["core"].get("hardlink_lock", False)
    data = [str(Path(repo.root_dir, layout.RUNS.parts[0]))]
    with repo, ExitStack() as shut:
        try:
            forget_the_dead(Path(repo.tmp_dir), hardlink=hardlink)
            with repo.lock:  # which DVC holds wherever it has no marks
                shut.enter_context(rwlock(repo.tmp_dir, repo.fs, " ".join(sys.argv), data, [], hardlink))
        except LockError as error:
            raise DvcAtWorkError(f"DVC{_blockers(Path(repo.tmp_dir))}") from error
        yield


def forget_the_dead(folder: Path, *, hardlink: bool = False) -> None:
    """Remove marks of processes that have ended, also where another process has their number by now.

    DVC itself does not tell these apart, as they come from a container that was started again. A file that was half
    written when its process died is removed.
    """
    from dvc.lock import make_lock

    file = folder / MARKS
    with make_lock(str(folder / f"{MARKS}.lock"), tmp_dir=str(folder), hardlink_lock=hardlink):
        try:
            written, marks = file.stat().st_mtime, json.loads(file.read_text(encoding="utf-8"))
            kept = _of_the_living(marks, written)
        except FileNotFoundError:
            return
        except (ValueError, TypeError, KeyError, AttributeError):
            file.unlink()
            return
        if kept != marks:
            file.write_text(json.dumps(kept), encoding="utf-8")


def _of_the_living(marks: Any, written: float) -> Any:
    writers = {path: mark for path, mark in marks.get("write", {}).items() if _lives(mark, written)}
    readers = {path: [one for one in those if _lives(one, written)] for path, those in marks.get("read", {}).items()}
    return {"write": writers, "read": {path: those for path, those in readers.items() if those}}


def _lives(mark: dict[str, Any], written: float) -> bool:
    """Return whether the process that made a mark is there; this one made none."""
    number = int(mark["pid"])
    if number == os.getpid():
        return False
    try:
        process = psutil.Process(number)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= written + CLOCKS_DIFFER
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _blockers(folder: Path) -> str:
    """Return who is at work, in words that follow a name."""
    try:
        marks = json.loads((folder / MARKS).read_text(encoding="utf-8"))
        found = [*marks.get("write", {}).values(), *(one for those in marks.get("read", {}).values() for one in those)]
        names = {f"'{Path(one['cmd'].split()[0]).name} {' '.join(one['cmd'].split()[1:])}' (process {one['pid']})"
                 for one in found}  # fmt: skip
    except (OSError, ValueError, LookupError):
        return ""
    return f": {', '.join(sorted(names))}" if names else ""
