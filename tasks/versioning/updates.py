"""What a retraining takes from elsewhere, and what it hands over: the newest images, DVC's remote, a commit."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import UnavailableError, UserError


def update(path: str) -> str:
    """Bring the newest version of what DVC tracks at a path: ``dvc update`` of an import, else ``dvc pull``.

    Images that are only in the working copy are never overwritten by ``dvc pull``.

    Raises:
        UserError: DVC tracks nothing there.
        UnavailableError: it could not be brought.
    """
    from dvc.exceptions import OutputNotFoundError
    from dvc.repo import Repo

    with _one_sentence(f"the newest version of {path} could not be brought"), Repo() as repo:
        try:
            (out,) = repo.find_outs_by_path(path, strict=False)[:1]
        except OutputNotFoundError as error:
            raise UserError(
                f"retrain.update brings what DVC tracks, and it does not track {path}: run 'dvc add' or 'dvc import', "
                "or leave retrain.update out"
            ) from error
        stage = out.stage
        if stage.is_import or stage.is_repo_import:
            repo.update([stage.addressing])
            return f"{path}: updated from where it was imported"
        repo.pull([stage.addressing])
        return f"{path}: pulled"


def push() -> int:
    """Push what the stages of this working copy made, and the images, to DVC's remote; return the number of files.

    Raises:
        UnavailableError: there is no remote, or it can't be reached.
    """
    from dvc.repo import Repo

    with _one_sentence("DVC could not push"), Repo() as repo:
        return int(repo.push())


def commit(files: Sequence[Path], message: str) -> str:
    """Commit these files as they are, and nothing else that may be staged; return the commit, empty if none differs.

    Raises:
        UserError: git refuses.
    """
    names = [str(file) for file in files if file.is_file() and not file.is_absolute()]
    _git("add", "--", *names)
    if not _git("status", "--porcelain", "--", *names):
        return ""
    _git("commit", "--quiet", "-m", message, "--", *names)
    return _git("rev-parse", "HEAD").strip()


@contextmanager
def _one_sentence(what: str) -> Iterator[None]:
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        raise UnavailableError(f"{what}: {' '.join(str(error).split())}") from error


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"'git {arguments[0]}' failed: {' '.join((done.stderr or done.stdout).split())}")
    return done.stdout
