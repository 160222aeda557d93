"""DVC and git: what is stale, what was recorded, and older revisions. The only importer of DVC."""

from tasks.versioning.clones import clone
from tasks.versioning.digests import data_digest
from tasks.versioning.git import changed_files, commit, commit_of, git_revision, must_stay
from tasks.versioning.repository import must_be_known_to_dvc, workable
from tasks.versioning.revisions import digest_at, fetch
from tasks.versioning.rwlock import DvcAtWorkError, read_lock
from tasks.versioning.stages import Stages
from tasks.versioning.storage import cache_folders
from tasks.versioning.updates import push, update

__all__ = [
    "DvcAtWorkError", "Stages", "cache_folders", "changed_files", "clone", "commit", "commit_of", "data_digest",
    "digest_at", "fetch", "git_revision", "must_be_known_to_dvc", "must_stay", "push", "read_lock",
    "update", "workable",
]  # fmt: skip
