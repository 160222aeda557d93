"""git: which commit a revision is, what differs from the last one, and a new one."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tasks.errors import UserError, one_line


def run_git(*arguments: str, folder: Path = Path()) -> subprocess.CompletedProcess[str]:
    """Run git in a folder, and return what came of it, whether or not it succeeded."""
    return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)


def git(*arguments: str, folder: Path = Path()) -> str:
    """Run git in a folder, and return what it printed.

    Raises:
        UserError: it failed.
    """
    done = run_git(*arguments, folder=folder)
    if done.returncode != 0:
        raise UserError(f"'git {arguments[0]}' failed: {one_line(done.stderr or done.stdout)}")
    return done.stdout


def has_git(folder: Path) -> bool:
    """Return whether a folder is in a git repository, without which DVC does nothing."""
    return any((parent / ".git").exists() for parent in (folder.absolute(), *folder.absolute().parents))


def resolve(name: str) -> str:
    """Return the object that git has under a name, such as a revision; empty if it has none."""
    done = run_git("rev-parse", "--verify", "--quiet", "--end-of-options", name)
    return done.stdout.strip() if done.returncode == 0 else ""


def commit_of(rev: str) -> str:
    """Return the commit that a git revision (a tag, a branch, a commit) stands for.

    Raises:
        UserError: git knows no such revision here.
    """
    if commit := resolve(f"{rev}^{{commit}}"):
        return commit
    if not has_git(Path()):
        raise UserError(f"there is no revision '{rev}': this folder is no git repository; work in a clone of one")
    raise UserError(f"git knows no revision '{rev}' here: 'git tag' and 'git log' list what there is")


def must_stay(rev: str) -> None:
    """Refuse a revision that stands for another commit tomorrow, such as a branch.

    Raises:
        UserError: it does, or git does not know it.
    """
    commit = commit_of(rev)
    if not resolve(f"refs/tags/{rev}") and not commit.startswith(rev.lower()):
        raise UserError(f"data.rev '{rev}' moves with later commits: write a tag, or the commit ('rev: {commit[:12]}')")


def git_revision() -> str:
    """Return the revision of the code, with ``-dirty`` where tracked files differ; empty outside a repository."""
    return run_git("describe", "--always", "--abbrev=40", "--dirty").stdout.strip()


def changed_files(folder: Path = Path()) -> list[str]:
    """Return the tracked files of a working copy that differ from its last commit.

    Raises:
        UserError: git can't say so.
    """
    return git("diff", "--name-only", "HEAD", folder=folder).splitlines()


def commit(files: Sequence[Path], message: str) -> str:
    """Commit these files as they are, and nothing else that may be staged; return the commit, empty if none differs.

    Raises:
        UserError: git refuses.
    """
    names = [str(file) for file in files if file.is_file() and not file.is_absolute()]
    git("add", "--", *names)
    if not git("status", "--porcelain", "--", *names):
        return ""
    git("commit", "--quiet", "-m", message, "--", *names)
    return git("rev-parse", "HEAD").strip()
