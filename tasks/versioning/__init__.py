"""DVC and git: what is stale, what was recorded, and older revisions. The only importer of DVC."""

from tasks.versioning.clones import changed_code, clone
from tasks.versioning.door import DvcAtWorkError, kept_shut
from tasks.versioning.identity import data_digest
from tasks.versioning.lockfile import keep, mend
from tasks.versioning.repository import must_be_known_to_dvc, workable
from tasks.versioning.revisions import commit_of, digest_at, fetch, git_revision, must_stay
from tasks.versioning.stages import Stages
from tasks.versioning.storage import cache_folders
from tasks.versioning.updates import commit, push, update

__all__ = [
    "DvcAtWorkError",
    "Stages",
    "cache_folders",
    "changed_code",
    "clone",
    "commit",
    "commit_of",
    "data_digest",
    "digest_at",
    "fetch",
    "git_revision",
    "keep",
    "kept_shut",
    "mend",
    "must_be_known_to_dvc",
    "must_stay",
    "push",
    "update",
    "workable",
]
