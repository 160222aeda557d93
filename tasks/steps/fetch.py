"""Images that are not here yet: fetched whole or not at all, and not again while nothing changed."""

import os
from pathlib import Path
from typing import Any

from tasks import exclusive, layout, versioning
from tasks.data.sources import fetching
from tasks.files import atomic_path, digest_of, read_json, write_json
from tasks.params import DataParams, load_params
from tasks.runs import named_files

RECORD = layout.WORK / "fetched.json"
DOWNLOADS = layout.WORK / "downloads"


def fetch() -> str:
    """Bring what the params name to ``data/fetched``, which is empty where nothing is fetched; return what was done.

    Raises:
        UserError: there is nothing of that name, a package is missing, or DVC, which runs this, can't record the path.
        UnavailableError: it could not be fetched.
    """
    params = load_params(layout.PARAMS).data
    if exclusive.DVC_STAGE in os.environ:
        versioning.must_be_known_to_dvc(params.path)
    named_files.forget_what_is_gone()
    if params.rev:
        versioning.must_stay(params.rev)
    asked = _asked(params)
    if _recorded() == {"asked": asked, "found": _digest_of(layout.FETCHED)}:
        return f"{layout.FETCHED}: nothing changed since it was fetched"
    with atomic_path(layout.FETCHED) as folder:
        folder.mkdir()
        if params.rev:
            versioning.fetch(params.rev, params.tracked, folder / params.fetched)
        elif params.fetched:
            fetching.fetch(params, folder / params.fetched, DOWNLOADS)
        else:
            (folder / "README.txt").write_text("Nothing is fetched: the images lie where data.path says.\n")
    write_json(RECORD, {"asked": asked, "found": _digest_of(layout.FETCHED)})
    if not params.fetched:
        return f"{layout.FETCHED}: nothing to fetch"
    count = sum(1 for path in layout.FETCHED.rglob("*") if path.is_file())
    return f"{layout.FETCHED}: {count} files of {params.fetched}"


def _asked(params: DataParams) -> str:
    """Return a digest of what is to be fetched, as it is there now."""
    commit = versioning.commit_of(params.rev) if params.rev else ""
    return digest_of([params.source, params.url, params.dataset, params.tracked, commit, fetching.state(params)])


def _recorded() -> Any:
    try:
        return read_json(RECORD)
    except (OSError, ValueError):
        return None


def _digest_of(folder: Path) -> str:
    """Return a digest of the names, sizes and times of all files: it changes when one is touched."""
    if not folder.is_dir():
        return ""
    facts = {path.relative_to(folder).as_posix(): path.stat() for path in folder.rglob("*") if path.is_file()}
    return digest_of([(name, fact.st_size, fact.st_mtime_ns) for name, fact in sorted(facts.items())])
