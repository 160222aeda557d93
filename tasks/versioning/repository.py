"""Whether this folder is what DVC and git work in, and what makes it one."""

from pathlib import Path

from tasks.errors import UserError
from tasks.params import expanded

REPRO = "'dvc repro'"


def has_git(folder: Path) -> bool:
    """Return whether a folder is in a git repository, without which DVC does nothing."""
    return any((place / ".git").exists() for place in (folder.absolute(), *folder.absolute().parents))


def no_repository(error: Exception) -> UserError:
    """Return what to say where DVC finds no repository: what makes one of what is here."""
    here, commands = Path.cwd(), []
    if not has_git(here):
        commands.append("git init")
    if not (here / ".dvc").is_dir():
        commands.append("dvc init" if commands or (here / ".git").exists() else "dvc init --subdir")
    reason = " ".join(str(error).split())
    return UserError(f"this is no DVC repository ({reason}): run '{' && '.join(commands) or 'dvc doctor'}' in {here}")


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
    whole = expanded(path)
    if str(whole) != str(Path(path)):
        raise UserError(f"data.path: DVC does not expand '~', so that it can't record {path}: write 'path: {whole}'")
