"""The digests that identify data."""

import os
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML

from tasks.params import DataParams
from tasks.versioning.revisions import digest_at

LOCK_FILE = Path("dvc.lock")


def data_digest(data: DataParams) -> str:
    """Return the digest that DVC recorded of what is read; empty before the stage ``prepare`` ran.

    By ``data.rev``, it is the digest that was recorded at that revision: the one that the same images have in a working
    copy.

    Raises:
        UserError: git does not know the revision, or the images were not tracked then.
    """
    recorded = _recorded()
    if data.rev and recorded:
        return _digest_at(data.rev, PurePosixPath(data.path).as_posix())
    return recorded.get(data.path) or recorded.get(os.path.relpath(data.path), "")


_digest_at = cache(digest_at)


def _recorded() -> dict[str, str]:
    """Return the digest of each dependency of ``prepare``."""
    if not LOCK_FILE.is_file():
        return {}
    lock = YAML(typ="safe").load(LOCK_FILE) or {}
    dependencies: list[dict[str, Any]] = lock.get("stages", {}).get("prepare", {}).get("deps", [])
    return {entry["path"]: entry.get("md5", "") for entry in dependencies}
