"""Where this working copy keeps what DVC tracks."""

from typing import Any


def storage() -> dict[str, Any]:
    """Return the settings of DVC's cache and remotes, for a revision or a clone to share: its own may be older."""
    from dvc.repo import Repo

    with Repo() as here:
        shared: dict[str, Any] = {
            "cache": {**here.config["cache"], "dir": here.cache.local_cache_dir},
            "remote": dict(here.config["remote"]),
        }
        if "remote" in here.config["core"]:
            shared["core"] = {"remote": here.config["core"]["remote"]}
    return shared
