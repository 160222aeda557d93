"""An archive of class folders, or of a table with its images: unpacked, and listed as what is in it."""

from dataclasses import replace
from pathlib import Path

from tasks.data.sources import file_kinds, folders, split_names, table_discovery, tables
from tasks.data.sources.archive_unpacking import unpack
from tasks.data.sources.listing import SourceListing
from tasks.params import DataParams

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_archive(path: Path) -> bool:
    """Return whether a file's name is that of an archive that can be unpacked."""
    return path.name.lower().endswith(SUFFIXES)


def find(archive: Path, params: DataParams, work: Path) -> SourceListing:
    """Unpack an archive, unless that was done before, and list the files in it.

    Args:
        archive: the file.
        params: limits of what is unpacked and opened.
        work: the folder below which it is unpacked.

    Raises:
        UserError: the archive can't be unpacked, or what is in it can't be used.
    """
    unpacked = unpack(archive, work, params.max_files, params.max_unpacked_bytes)
    top = _top(unpacked.folder)
    if table_discovery.manifest_in(top) is None:
        return folders.find(unpacked.folder, params, archive).seen_from(top, unpacked.notes)
    listing = tables.find(top, params.label_case)
    return replace(listing, notes=[*unpacked.notes, *listing.notes])


def _top(folder: Path) -> Path:
    """Return the folder that holds the classes or the manifest: this one, or the single folder in it."""
    if table_discovery.manifest_in(folder):
        return folder
    inside = _folders(folder)
    if len(inside) != 1 or split_names.is_usual(inside[0].name):
        return folder
    return inside[0] if table_discovery.manifest_in(inside[0]) or _folders(inside[0]) else folder


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not file_kinds.folder_kind(path.name)]
