"""Which stages are stale, and the record of one that ran."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tasks import layout
from tasks.errors import UserError
from tasks.params import must_have_sections
from tasks.versioning import lockfile
from tasks.versioning.repository import dvc_errors_as, open_repository

TRIES, SECONDS_BETWEEN_TRIES = 60, 1.0


class Stages:
    """The stages of ``dvc.yaml`` in this repository, asked and recorded in this process.

    Raises:
        UserError: there is no DVC repository, or params.yaml lacks a section.
    """

    def __init__(self, root: Path = Path()) -> None:
        self._repo = open_repository(root, _wait_for_lock=True)
        must_have_sections(root / layout.PARAMS)

    def is_current(self, stage: str) -> bool:
        """Return whether a stage's dependencies, params and outputs are as recorded, so that it need not run."""
        with _one_sentence(stage):
            return not self._repo.status(targets=[stage])

    def stale(self, stages: Sequence[str]) -> list[str]:
        """Return the stages that have to run, because what they depend on or made is not as recorded."""
        with _one_sentence(", ".join(stages)):
            changed = self._repo.status(targets=list(stages))
        return [stage for stage in stages if stage in changed]

    def record(self, stage: str) -> None:
        """Record a stage that this process ran, as ``dvc repro`` would have."""
        from dvc.lock import LockError

        lockfile.back_up()
        with _one_sentence(stage):
            for tries_left in reversed(range(TRIES)):
                try:
                    self._repo.commit(stage, force=True)
                except LockError:  # by a command that reads, such as 'dvc status'
                    if not tries_left:
                        raise
                    time.sleep(SECONDS_BETWEEN_TRIES)
                else:
                    return


@contextmanager
def _one_sentence(stage: str) -> Iterator[None]:
    what = f"DVC can't handle the stage '{stage}'"
    try:
        with dvc_errors_as(UserError, what):
            yield
    except FileNotFoundError as error:  # a link to a file that is gone
        raise UserError(
            f"{what}: {error.filename} is gone, or links to a file that is: put it back, or correct params.yaml"
        ) from error
