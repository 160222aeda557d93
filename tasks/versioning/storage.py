"""Where this working copy keeps what DVC tracks."""

from pathlib import Path
from typing import Any


def storage() -> dict[str, Any]:
    """Return the settings of DVC's cache and remotes, for a revision or a clone to share: its own may be older."""
    from dvc.repo import Repo

    with Repo() as repo:
        shared: dict[str, Any] = {
            "cache": {**repo.config["cache"], "dir": repo.cache.local_cache_dir},
            "remote": dict(repo.config["remote"]),
        }
        if "remote" in repo.config["core"]:
            shared["core"] = {"remote": repo.config["core"]["remote"]}
    return shared


def cache_folders(images: Path) -> tuple[Path, ...]:
    """Return where DVC keeps what it links to: the caches of this repository, and of the one that has the images.

    Both may be shared with others (``dvc cache dir``). None where there is no repository.
    """
    caches = [_cache_of(Path()), _cache_of(images.resolve().parent)]  # a folder of images has no say of its own
    return tuple(dict.fromkeys(cache for cache in caches if cache))


def _cache_of(folder: Path) -> Path | None:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(Repo.find_root(str(folder))) as repo:
            return Path(repo.cache.local_cache_dir)
    except DvcException:
        return None
