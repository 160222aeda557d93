"""One at a time: locks of the operating system, which a process that is killed lets go of by itself.

A flow holds the whole working copy. A step that is started by hand or by DVC holds its stage; it waits for a flow, and
a flow waits for it.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tasks import layout, stopping
from tasks.errors import UserError
from tasks.files import digest_of, digest_of_tree, read_json, sha256_of, write_json

LIMIT = "THAWLINE_WAIT"
LONGEST_WAIT = 20 * 60 * 60  # seconds, so that one night's run never waits for the next one's
HELD = "THAWLINE_HELD"  # names the working copy that the process which started this one holds
DVC_STAGE = "DVC_STAGE"

Say = Callable[[str], None]


def seconds_to_wait() -> float:
    """Return for how many seconds another run is waited for.

    Raises:
        UserError: THAWLINE_WAIT is no number of seconds.
    """
    given = os.environ.get(LIMIT, "")
    try:
        seconds = float(given or LONGEST_WAIT)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise UserError(f"{LIMIT} is '{given}': set it to the seconds that another run is waited for, such as 3600")
    return seconds


@contextmanager
def locked(lock: Path, what: str, say: Say) -> Iterator[bool]:
    """Hold a lock for as long as the block runs; yield whether somebody else held it.

    Args:
        lock: the file.
        what: this run, for those who wait for it.
        say: takes the line that says who is waited for.

    Raises:
        UserError: somebody held it for longer than is waited.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    file_lock, record = FileLock(lock), lock.with_suffix(".json")
    waited = _acquire(file_lock, record, say)
    try:
        write_json(record, {"pid": os.getpid(), "what": what, "since": datetime.now().astimezone().isoformat()})
        yield waited
    finally:
        record.unlink(missing_ok=True)
        file_lock.release()


@contextmanager
def working_copy(what: str, say: Say) -> Iterator[None]:
    """Hold this working copy, in which no step runs that somebody started otherwise, for as long as the block runs.

    Raises:
        UserError: it was in use for longer than is waited.
    """
    if not _is_repository() or _is_held_above():
        yield
        return
    before = os.environ.get(HELD)
    with locked(layout.LOCK, what, say):
        for lock in sorted(layout.LOCKS.glob("*.lock")):
            with locked(lock, what, say):
                pass
        os.environ[HELD] = _name()
        try:
            yield
        finally:
            os.environ.pop(HELD)
            if before is not None:
                os.environ[HELD] = before


@contextmanager
def stage(name: str, say: Say) -> Iterator[bool]:
    """Hold a stage for as long as the block runs; yield whether there is something to do.

    There is nothing where the same step, of the same params and code, ended well while it was waited for. Under DVC
    there always is: it removed what the stage makes.

    Raises:
        UserError: the stage, or the working copy, was in use for longer than is waited.
    """
    if not _is_repository() or _is_held_above():
        yield True
        return
    what, digest, lock = f"python -m tasks {name}", _work_digest(), layout.lock_of(name)
    done = lock.with_suffix(".done")
    with ExitStack() as locks:
        with locked(layout.LOCK, what, say):  # which a flow holds
            waited = locks.enter_context(locked(lock, what, say))
        if waited and DVC_STAGE not in os.environ and _read(done) == digest:
            yield False
            return
        done.unlink(missing_ok=True)
        yield True
        write_json(done, digest)


def waited_too_long(who: str) -> UserError:
    """Return what is raised where somebody was at work for longer than is waited."""
    return UserError(
        f"{who} is at work here, and was waited for {seconds_to_wait():.0f} s: run the same command again when it has "
        f"ended, or set {LIMIT} to more seconds"
    )


def _acquire(lock: FileLock, record: Path, say: Say) -> bool:
    until, waited = time.monotonic() + seconds_to_wait(), False
    while True:
        try:
            lock.acquire(timeout=1.0 if waited else 0.0)
        except Timeout:
            stopping.check()
            if time.monotonic() >= until:
                raise waited_too_long(_holder(record)) from None
            if not waited:
                say(f"waits for {_holder(record)}")
            waited = True
        else:
            return waited


def _holder(record: Path) -> str:
    holder = _read(record)
    if not isinstance(holder, dict):
        return "another run"
    since = datetime.fromisoformat(holder["since"])
    return f"'{holder['what']}' (process {holder['pid']}, since {since:%Y-%m-%d %H:%M:%S})"


def _work_digest() -> str:
    """Return a digest of what a step's work depends on besides the files that other steps make."""
    params = sha256_of(layout.PARAMS) if layout.PARAMS.is_file() else ""
    return digest_of([params, digest_of_tree(Path(__file__).parent, "*.py")])


def _read(file: Path) -> Any:
    with suppress(OSError, ValueError):  # half of it may be written
        return read_json(file)
    return None


def _is_repository() -> bool:
    return layout.LOCKS.parent.parent.is_dir()


def _is_held_above() -> bool:
    """Return whether a run that started this process holds the working copy."""
    return os.environ.get(HELD) == _name()


def _name() -> str:
    return str(layout.LOCK.absolute())
