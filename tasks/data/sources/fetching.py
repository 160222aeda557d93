"""What a source has to bring here before it can be listed."""

from pathlib import Path

from tasks.data.sources import elpv, torchvision_sets, urls
from tasks.params import DataParams


def fetch(params: DataParams, target: Path, downloads: Path) -> None:
    """Bring what the params name to ``target``, which is not there yet.

    Args:
        params: ``elpv``, ``torchvision`` or a ``url``.
        target: the file or the folder to make.
        downloads: where torchvision keeps what it fetched.

    Raises:
        UserError: there is nothing of that name, or a package is missing.
        UnavailableError: it could not be fetched.
    """
    if params.url:
        urls.fetch(params.url, target)
        return
    target.mkdir()
    if params.source == "elpv":
        elpv.fetch(target)
    else:
        torchvision_sets.fetch(params.dataset, target, downloads)


def state(params: DataParams) -> str:
    """Return what changes when there is something else to fetch for the same params; empty where that can't be."""
    return urls.state(params.url) if params.url else ""
