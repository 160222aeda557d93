"""Clones of this repository to work in beside the working copy, with the same DVC cache and remotes."""

import subprocess
from pathlib import Path

from tasks.errors import UserError
from tasks.files import atomic_path
from tasks.versioning.revisions import commit_of
from tasks.versioning.storage import storage


def clone(target: Path) -> None:
    """Make a clone of the last commit, or bring the one that is there up to it; what runs in it wrote, it keeps.

    Raises:
        UserError: git or DVC can't make it.
    """
    head = commit_of("HEAD")
    if not target.is_dir():
        with atomic_path(target) as temporary:
            _git("clone", "--quiet", "--shared", "--no-checkout", str(Path.cwd()), str(temporary))
            _git("checkout", "--quiet", "--detach", head, of=temporary)
    elif _git("rev-parse", "HEAD", of=target).strip() != head:
        _move_to(head, target)
    _share_storage(target)


def changed_code() -> list[str]:
    """Return the tracked files that differ from the last commit, which a clone has as they were then."""
    return _git("diff", "--name-only", "HEAD").splitlines()


def _move_to(head: str, target: Path) -> None:
    """Bring a clone to another commit and put back what its runs wrote into tracked files."""
    names = _git("diff", "--name-only", "HEAD", of=target).splitlines()
    written = {target / name: (target / name).read_bytes() for name in names if (target / name).is_file()}
    _git("checkout", "--quiet", "--force", "--detach", head, of=target)
    for file, content in written.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _share_storage(target: Path) -> None:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(target)) as there, there.config.edit("local") as settings:
            for section, content in storage().items():
                settings[section] = {**settings.get(section, {}), **content}
    except DvcException as error:
        raise UserError(f"DVC can't work in {target}: {' '.join(str(error).split())}") from error


def _git(*arguments: str, of: Path = Path()) -> str:
    done = subprocess.run(["git", "-C", str(of), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"'git {arguments[0]}' failed: {' '.join(done.stderr.split())}")
    return done.stdout
