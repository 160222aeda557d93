"""What is stale, and what was recorded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import UserError


class Stages:
    """The stages of ``dvc.yaml`` in this repository, asked and recorded in this process."""

    def __init__(self, root: Path = Path()) -> None:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        self._failure = DvcException
        try:
            self._repo = Repo(str(root))
        except DvcException as error:
            raise UserError(f"this is no DVC repository: {error}; run 'dvc init' at its root") from error

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
        with self._one_sentence(stage):
            self._repo.commit(stage, force=True)

    @contextmanager
    def _one_sentence(self, stage: str) -> Iterator[None]:
        try:
            yield
        except self._failure as error:
            raise UserError(f"DVC can't handle the stage '{stage}': {' '.join(str(error).split())}") from error
