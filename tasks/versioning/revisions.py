"""What DVC and git track at an older revision: its digest, and its files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import LONGEST, UnavailableError, UserError, one_line
from tasks.files import digest_of, is_full_disk
from tasks.versioning.git import commit_of, resolve
from tasks.versioning.repository import dvc_errors_as
from tasks.versioning.storage import storage

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem


def digest_at(rev: str, path: str) -> str:
    """Return the digest that DVC recorded of a path at a revision; of what git alone tracks, git's own.

    Raises:
        UserError: git does not know the revision, or nothing was tracked there.
    """
    with _files_at(rev, path) as (files, place):
        by_dvc: str = files.info(place).get("md5", "")
        return by_dvc or resolve(f"{commit_of(rev)}:{path}") or _digest_of_files(files, place)


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
            raise UnavailableError(
                f"{what} could not be fetched ({one_line(error, LONGEST)}): check the DVC remote and run the same "
                "command again"
            ) from error
    if not complete:
        raise UnavailableError(
            f"{what} is neither in DVC's cache nor at a remote: run 'dvc push' where it is, or set up the remote that "
            "has it ('dvc remote add')"
        )


@contextmanager
def _files_at(rev: str, path: str) -> Iterator[tuple["DVCFileSystem", str]]:
    """Yield the files of a revision, and the name that a path has among them."""
    from dvc.api import DVCFileSystem
    from dvc.repo import Repo

    place = f"/{path}"
    with (
        dvc_errors_as(UserError, f"DVC can't read the revision '{rev}'"),
        Repo(rev=commit_of(rev), config=storage()) as repo,
    ):
        files = DVCFileSystem(repo=repo)
        if not files.exists(place):
            raise UserError(
                f"at the revision '{rev}' neither DVC nor git tracks {path}: choose a revision that has it, or "
                "correct data.path in params.yaml"
            )
        yield files, place


def _digest_of_files(files: "DVCFileSystem", place: str) -> str:
    """Return a digest of what DVC recorded of each file below a place that it did not record as a whole."""
    below = sorted(files.find(place, detail=True).items())
    return digest_of([(name, info.get("md5"), info["size"]) for name, info in below])


def _recorded_count(repo: Any, place: str) -> int:
    """Return how many files DVC recorded at a place: one is there at least."""
    outs = [out for out in repo.index.outs if out.use_cache and f"{out.fs_path}/".startswith(f"{place}/")]
    return max(1, sum(out.meta.nfiles or 1 for out in outs))


def _count(target: Path) -> int:
    return sum(1 for path in target.rglob("*") if path.is_file()) if target.is_dir() else int(target.is_file())
