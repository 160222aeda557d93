"""DVC: what is stale, what was recorded, and the digests that identify data. The only importer of DVC."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tasks.errors import UserError

LOCK_FILE = Path("dvc.lock")


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


def data_digest(path: str) -> str:
    """Return the digest that DVC recorded of the images under ``path``; empty before the stage ``prepare`` ran."""
    if not LOCK_FILE.is_file():
        return ""
    lock = YAML(typ="safe").load(LOCK_FILE) or {}
    dependencies: list[dict[str, Any]] = lock.get("stages", {}).get("prepare", {}).get("deps", [])
    return next((entry.get("md5", "") for entry in dependencies if entry.get("path") == path), "")


def git_revision() -> str:
    """Return the revision of the code, with ``-dirty`` where tracked files differ; empty outside a repository."""
    done = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
