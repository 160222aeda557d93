"""Where links among the images may lead."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tasks import versioning
from tasks.params import DataParams

if TYPE_CHECKING:
    from tasks.serving.champion import Champion


def links_to(folder: Path, data: DataParams) -> tuple[Path, ...]:
    """Return the folders outside of ``folder`` that links in it may lead to: DVC's caches; all, if params say so."""
    return (Path("/"),) if data.follow_links else versioning.cache_folders(folder)


def following_links(champion: "Champion", folder: Path) -> "Champion":
    """Return a champion that reads what links in a folder lead to, as the images were read that it was trained on."""
    return replace(champion, links_to=links_to(folder, champion.facts.data))
