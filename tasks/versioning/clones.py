"""Clones of this repository to work in beside the working copy, with the same DVC cache and remotes."""

from pathlib import Path

from tasks.errors import UserError
from tasks.files import atomic_path
from tasks.versioning.git import changed_files, commit_of, git
from tasks.versioning.repository import dvc_errors_as
from tasks.versioning.storage import storage


def clone(target: Path) -> None:
    """Make a clone of the last commit, or bring the one that is there up to it; what runs in it wrote, it keeps.

    Raises:
        UserError: git or DVC can't make it.
    """
    head = commit_of("HEAD")
    if not target.is_dir():
        with atomic_path(target) as temporary:
            git("clone", "--quiet", "--shared", "--no-checkout", str(Path.cwd()), str(temporary))
            git("checkout", "--quiet", "--detach", head, folder=temporary)
    elif git("rev-parse", "HEAD", folder=target).strip() != head:
        _move_to(head, target)
    _share_storage(target)


def _move_to(head: str, target: Path) -> None:
    """Bring a clone to another commit and put back what its runs wrote into tracked files."""
    changed = [target / name for name in changed_files(target)]
    written = {file: file.read_bytes() for file in changed if file.is_file()}
    git("checkout", "--quiet", "--force", "--detach", head, folder=target)
    for file, content in written.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _share_storage(target: Path) -> None:
    from dvc.repo import Repo

    with (
        dvc_errors_as(UserError, f"DVC can't work in {target}"),
        Repo(str(target)) as repo,
        repo.config.edit("local") as settings,
    ):
        for section, content in storage().items():
            settings[section] = {**settings.get(section, {}), **content}
