"""The digests that identify data."""

import os
from functools import cache
from pathlib import PurePosixPath

from tasks.params import DataParams
from tasks.versioning.lockfile import recorded_dependencies
from tasks.versioning.revisions import digest_at


def data_digest(data: DataParams) -> str:
    """Return the digest that DVC recorded of what is read; empty before the stage ``prepare`` ran.

    By ``data.rev``, it is the digest that was recorded at that revision: the one that the same images have in a working
    copy.

    Raises:
        UserError: git does not know the revision, or the images were not tracked then.
    """
    recorded = recorded_dependencies("prepare")
    if data.rev and recorded:
        return _digest_at(data.rev, PurePosixPath(data.path).as_posix())
    return recorded.get(data.path) or recorded.get(os.path.relpath(data.path), "")


_digest_at = cache(digest_at)
