"""Older revisions: which there are, and what DVC and git track at them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.errors import UnavailableError, UserError
from tasks.files import digest_of, is_full_disk
from tasks.versioning.repository import has_git
from tasks.versioning.storage import storage


def commit_of(rev: str) -> str:
    """Return the commit that a git revision (a tag, a branch, a commit) stands for.

    Raises:
        UserError: git knows no such revision here.
    """
    done = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
    if done.returncode != 0:
        if not has_git(Path()):
            raise UserError(f"there is no revision '{rev}': this folder is no git repository; work in a clone of one")
        raise UserError(f"git knows no revision '{rev}' here: 'git tag' and 'git log' list what there is")
    return done.stdout.strip()


def must_stay(rev: str) -> None:
    """Refuse a revision that stands for another commit tomorrow, such as a branch.

    Raises:
        UserError: it does, or git does not know it.
    """
    commit = commit_of(rev)
    is_tag = _git("rev-parse", "--verify", "--quiet", f"refs/tags/{rev}").returncode == 0
    if not is_tag and not commit.startswith(rev.lower()):
        raise UserError(f"data.rev '{rev}' moves with later commits: write a tag, or the commit ('rev: {commit[:12]}')")


def git_revision() -> str:
    """Return the revision of the code, with ``-dirty`` where tracked files differ; empty outside a repository."""
    return _git("describe", "--always", "--abbrev=40", "--dirty").stdout.strip()


def digest_at(rev: str, path: str) -> str:
    """Return the digest that DVC recorded of a path at a revision; of what git alone tracks, git's own.

    Raises:
        UserError: git does not know the revision, or nothing was tracked there.
    """
    with _files_at(rev, path) as (files, place):
        recorded = files.info(place).get("md5", "")
        by_git = "" if recorded else _git("rev-parse", "--verify", "--quiet", f"{commit_of(rev)}:{path}").stdout.strip()
        return (
            recorded
            or by_git
            or digest_of([(name, fact.get("md5"), fact["size"]) for name, fact in _below(files, place)])
        )


def fetch(rev: str, path: str, target: Path) -> None:
    """Copy what was tracked at ``path`` at a revision to ``target``, from DVC's cache or else its remote.

    Raises:
        UserError: git does not know the revision, or nothing was tracked there.
        UnavailableError: neither the cache nor a remote has it.
    """
    from dvc_data.index import DataIndexDirError

    what = f"{path} at the revision '{rev}'"
    with _files_at(rev, path) as (files, place):
        try:
            files.get(place, str(target), recursive=True)
            complete = _count(target) >= _recorded_count(files.repo, place)
        except (FileNotFoundError, DataIndexDirError):
            complete = False
        except Exception as error:  # each kind of remote has its own errors
            if isinstance(error, OSError) and is_full_disk(error):
                raise
            reason = " ".join(str(error).split())[:200]
            raise UnavailableError(
                f"{what} could not be fetched ({reason}): check the DVC remote and run the same command again"
            ) from error
    if not complete:
        raise UnavailableError(
            f"{what} is neither in DVC's cache nor at a remote: run 'dvc push' where it is, or set up the remote that "
            "has it ('dvc remote add')"
        )


@contextmanager
def _files_at(rev: str, path: str) -> Iterator[tuple[Any, str]]:
    """Yield the files of a revision, and the name that a path has among them."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    place = f"/{path}"
    try:
        with Repo(rev=commit_of(rev), config=storage()) as repo:
            files = DVCFileSystem(repo=repo)
            if not files.exists(place):
                raise UserError(
                    f"at the revision '{rev}' neither DVC nor git tracks {path}: choose a revision that has it, or "
                    "correct data.path in params.yaml"
                )
            yield files, place
    except DvcException as error:
        raise UserError(f"DVC can't read the revision '{rev}': {' '.join(str(error).split())}") from error


def _below(files: Any, place: str) -> list[tuple[str, dict[str, Any]]]:
    return sorted(files.find(place, detail=True).items())


def _recorded_count(repo: Any, place: str) -> int:
    """Return how many files DVC recorded at a place: one is there at least."""
    outs = [out for out in repo.index.outs if out.use_cache and f"{out.fs_path}/".startswith(f"{place}/")]
    return max(1, sum(out.meta.nfiles or 1 for out in outs))


def _count(target: Path) -> int:
    return sum(1 for path in target.rglob("*") if path.is_file()) if target.is_dir() else int(target.is_file())


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
