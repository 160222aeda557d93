"""What is made once a run of the tests, by whichever of their processes needs it first."""

import atexit
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

FOLDER = "THAWLINE_TESTS"  # names the folder that all processes of a run share


def folder() -> Path:
    """Return the folder that all processes of this run share; the first that asks makes it, and removes it."""
    if FOLDER not in os.environ:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="thawline-tests-")
        atexit.register(_end, os.getpid())
    return Path(os.environ[FOLDER])


def once(name: str, make: Callable[[Path], Any]) -> Any:
    """Return what ``make`` returns, which is plain data; it is called once a run, with a folder that is there for it.

    A second process waits for the first. Where making it failed, it is not tried again, and every caller is told.
    """
    place = folder() / name
    made, failed = place.with_suffix(".json"), place.with_suffix(".failed")
    with FileLock(place.with_suffix(".lock")):
        if failed.is_file():
            pytest.fail(f"{name} could not be made: {failed.read_text()}")
        if not made.is_file():
            place.mkdir()
            try:
                content = json.dumps(make(place))
            except BaseException as error:
                failed.write_text(str(error) or repr(error))
                raise
            made.write_text(content)
        return json.loads(made.read_text())


def remember(process: int) -> None:
    """End a process, and the group that it leads, with this run at the latest."""
    (folder() / f"{process}.process").touch()


def forget(process: int) -> None:
    """Forget a process that has ended."""
    (folder() / f"{process}.process").unlink(missing_ok=True)


def _end(process: int) -> None:
    """End what was remembered, and remove the folder; not in a copy of the process that made it."""
    if process != os.getpid():
        return
    for left in folder().glob("*.process"):
        with suppress(ProcessLookupError):
            os.killpg(int(left.stem), signal.SIGKILL)
    shutil.rmtree(folder(), ignore_errors=True)
