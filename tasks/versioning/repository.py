"""DVC's repository in a folder: opened, with each of its failures as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import UserError, one_line
from tasks.params import expanded
from tasks.versioning.git import has_git

if TYPE_CHECKING:
    from dvc.repo import Repo

REPRO = "'dvc repro'"


def open_repository(root: Path = Path(), **options: Any) -> "Repo":
    """Return the repository of a folder.

    Args:
        root: the folder.
        options: of ``dvc.repo.Repo``.

    Raises:
        UserError: it is none; the sentence says what makes one of what is here.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        return Repo(str(root), **options)
    except DvcException as error:
        raise UserError(
            f"this is no DVC repository ({one_line(error)}): run '{_what_makes_one()}' in {Path.cwd()}"
        ) from error


def _what_makes_one() -> str:
    here, commands = Path.cwd(), []
    if not has_git(here):
        commands.append("git init")
    if not (here / ".dvc").is_dir():
        commands.append("dvc init" if commands or (here / ".git").exists() else "dvc init --subdir")
    return " && ".join(commands) or "dvc doctor"


@contextmanager
def dvc_errors_as(kind: type[UserError], what: str) -> Iterator[None]:
    """Turn what DVC raises in the block into one sentence.

    Args:
        kind: of the error that is raised instead.
        what: the beginning of the sentence.
    """
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        raise kind(f"{what}: {one_line(error)}") from error


def workable(sentence: str) -> str:
    """Return a sentence that may say to run 'dvc repro', and what has to be done before that works here."""
    if REPRO not in sentence or has_git(Path()):
        return sentence
    return f"{sentence} (this folder is no git repository, which DVC needs: run 'git init' first)"


def must_be_known_to_dvc(path: str) -> None:
    """Refuse a path that DVC takes for another one than the steps do.

    Raises:
        UserError: it begins with ``~``, which to DVC is the name of a folder.
    """
    to_steps = expanded(path)
    if str(to_steps) != str(Path(path)):
        raise UserError(f"data.path: DVC does not expand '~', so that it can't record {path}: write 'path: {to_steps}'")
