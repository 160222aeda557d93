"""What is stale, and what was recorded."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tasks import layout
from tasks.errors import UserError
from tasks.params import must_have_sections
from tasks.versioning import lockfile
from tasks.versioning.repository import no_repository

TRIES, SECONDS_BETWEEN_TRIES = 60, 1.0


class Stages:
    """The stages of ``dvc.yaml`` in this repository, asked and recorded in this process."""

    def __init__(self, root: Path = Path()) -> None:
        from dvc.exceptions import DvcException
        from dvc.lock import LockError
        from dvc.repo import Repo

        self._failure, self._blocked = DvcException, LockError
        try:
            self._repo = Repo(str(root), _wait_for_lock=True)
        except DvcException as error:
            raise no_repository(error) from error
        must_have_sections(root / layout.PARAMS)

    def is_current(self, stage: str) -> bool:
        """Return whether a stage's dependencies, params and outputs are as recorded, so that it need not run."""
        with self._one_sentence(stage):
            return not self._repo.status(targets=[stage])

    def stale(self, stages: Sequence[str]) -> list[str]:
        """Return the stages that have to run, because what they depend on or made is not as recorded."""
        with self._one_sentence(", ".join(stages)):
            found = self._repo.status(targets=list(stages))
        return [stage for stage in stages if stage in found]

    def record(self, stage: str) -> None:
        """Record a stage that this process ran, as ``dvc repro`` would have."""
        lockfile.keep()
        with self._one_sentence(stage):
            for tries_left in reversed(range(TRIES)):
                try:
                    self._repo.commit(stage, force=True)
                except self._blocked:  # by a command that reads, such as 'dvc status'
                    if not tries_left:
                        raise
                    time.sleep(SECONDS_BETWEEN_TRIES)
                else:
                    return

    @contextmanager
    def _one_sentence(self, stage: str) -> Iterator[None]:
        try:
            yield
        except self._failure as error:
            raise UserError(f"DVC can't handle the stage '{stage}': {' '.join(str(error).split())}") from error
        except FileNotFoundError as error:  # a link to a file that is gone
            raise UserError(
                f"DVC can't handle the stage '{stage}': {error.filename} is gone, or links to a file that is: put it "
                "back, or correct params.yaml"
            ) from error
