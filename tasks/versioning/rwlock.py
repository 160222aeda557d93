"""DVC's own read-write lock, held while a flow works: ``dvc repro`` is refused at once, and a flow waits for its end.

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
from tasks.versioning.repository import open_repository

MARKS = "rwlock"
CLOCKS_DIFFER = 5.0  # seconds, of a process's start and a file's time at most


class DvcAtWorkError(UserError):
    """A command of DVC writes data here."""


@contextmanager
def read_lock() -> Iterator[None]:
    """Let no command of DVC write data for as long as the block runs; this process may.

    Raises:
        DvcAtWorkError: one does.
        UserError: this is no DVC repository.
    """
    from dvc.lock import LockError
    from dvc.rwlock import rwlock

    repo = open_repository()
    folder = Path(repo.tmp_dir)
    hardlink = repo.config["core"].get("hardlink_lock", False)
    data = [str(Path(repo.root_dir, layout.RUNS.parts[0]))]
    with repo, ExitStack() as held:
        try:
            remove_stale_marks(folder, hardlink=hardlink)
            with repo.lock:  # which DVC holds wherever it has no marks
                held.enter_context(rwlock(repo.tmp_dir, repo.fs, " ".join(sys.argv), data, [], hardlink))
        except LockError as error:
            raise DvcAtWorkError(f"DVC{_blockers(folder)}") from error
        yield


def remove_stale_marks(folder: Path, *, hardlink: bool = False) -> None:
    """Remove marks of processes that have ended, also where another process has their number by now.

    DVC itself does not tell these apart, as they come from a container that was started again. A file that was half
    written when its process died is removed.

    Args:
        folder: DVC's folder for temporary files.
        hardlink: whether DVC locks by a hard link, as its ``core.hardlink_lock`` says.
    """
    from dvc.lock import make_lock

    file = folder / MARKS
    with make_lock(str(folder / f"{MARKS}.lock"), tmp_dir=str(folder), hardlink_lock=hardlink):
        try:
            written, marks = file.stat().st_mtime, json.loads(file.read_text(encoding="utf-8"))
            live = _live_marks(marks, written)
        except FileNotFoundError:
            return
        except (ValueError, TypeError, KeyError, AttributeError):
            file.unlink()
            return
        if live != marks:
            file.write_text(json.dumps(live), encoding="utf-8")


def _live_marks(marks: Any, written: float) -> Any:
    writers = {path: mark for path, mark in marks.get("write", {}).items() if _is_alive(mark, written)}
    readers = {
        path: [mark for mark in of_path if _is_alive(mark, written)] for path, of_path in marks.get("read", {}).items()
    }
    return {"write": writers, "read": {path: of_path for path, of_path in readers.items() if of_path}}


def _is_alive(mark: dict[str, Any], written: float) -> bool:
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
        readers = [mark for of_path in marks.get("read", {}).values() for mark in of_path]
        names = {_command(mark) for mark in (*marks.get("write", {}).values(), *readers)}
    except (OSError, ValueError, LookupError):
        return ""
    return f": {', '.join(sorted(names))}" if names else ""


def _command(mark: dict[str, Any]) -> str:
    program, *arguments = mark["cmd"].split()
    return f"'{Path(program).name} {' '.join(arguments)}' (process {mark['pid']})"
