"""From the params to a listing: the source that reads what they name, and what holds for the files of all sources."""

from dataclasses import replace
from pathlib import Path

from tasks.data.sources import archives, elpv, folders, path_suggestions, table_discovery, tables
from tasks.data.sources.file_names import is_unicode, printable
from tasks.data.sources.followed_links import with_links_noted
from tasks.data.sources.label_spelling import clean_listing
from tasks.data.sources.listing import SourceListing
from tasks.data.sources.passed_over import counted_kinds
from tasks.errors import UserError
from tasks.params import TABLES, DataParams

READ_BY = {
    "elpv": "a folder",
    "folder": "a folder with a folder a class",
    "torchvision": "a folder with a folder a class",
    "manifest": f"a table ({', '.join(TABLES)}), or a folder with {' or '.join(table_discovery.USUAL_NAMES)} in it",
    "archive": f"an archive ({', '.join(archives.SUFFIXES)})",
}


def find(params: DataParams, work: Path) -> SourceListing:
    """List the labelled files of a source, sorted by path.

    Args:
        params: where they are.
        work: where an archive is unpacked, in a folder of its own that is used again.

    The path of a file whose name isn't Unicode is as the system gives it, which opens the file.

    Raises:
        UserError: the path is missing or is not what the source reads, a class is empty, there are fewer than two
            classes, the name of a class isn't Unicode, or an archive or a manifest can't be used.
    """
    root = params.root
    _must_suit(params)
    match params.source:
        case "elpv":
            listing = elpv.find(root, params.defective_over)
        case "manifest":
            listing = tables.find(root, params.label_case)
        case "archive":
            listing = archives.find(root, params, work)
        case _:
            listing = with_links_noted(folders.find(root, params), params)
            listing.notes.extend(_notes_on_unread_table(root))
    return _checked(listing, params)


def _must_suit(params: DataParams) -> None:
    """Check that what lies at the path is what the source reads.

    Raises:
        UserError: it isn't, or there is nothing.
    """
    root = params.root
    if params.source == "manifest" and root.exists():
        tables.must_be_unambiguous(root)
    if not root.exists():
        kind = "file" if params.source in {"archive", "manifest"} and root.suffix else "folder"
        mend = f"correct data.path in params.yaml{path_suggestions.suggest_name(root)}"
        if params.fetched:
            mend = "run 'dvc repro' to fetch it"
        raise UserError(f"the data {kind} {root} does not exist: {mend}")
    match params.source:
        case "manifest":
            suits = table_discovery.is_table(root) and root.is_file()
            suits = suits or table_discovery.manifest_in(root) is not None
        case "archive":
            suits = archives.is_archive(root) and root.is_file()
        case _:
            suits = root.is_dir()
    if not suits:
        there = "a folder" if root.is_dir() else "a file"
        read_by = READ_BY[params.source]
        raise UserError(f"{root} is {there}, but 'source: {params.source}' reads {read_by}: {_suggest_source(root)}")


def _suggest_source(path: Path) -> str:
    """Return what to write so that a path is read."""
    if path.is_dir():
        if table := path_suggestions.suggest_table(path):
            return table
        folder = path_suggestions.suggest_folder(path)
        return "write 'source: folder' for it" + (f", and {folder}" if folder else "")
    if table_discovery.is_table(path):
        return "write 'source: manifest' for it"
    return "write 'source: archive' for it" if archives.is_archive(path) else "correct data.path in params.yaml"


def _notes_on_unread_table(root: Path) -> list[str]:
    table = table_discovery.manifest_in(root)
    if table is None:
        return []
    return [f"{table.name} isn't read, the folders say the classes: write 'source: manifest' if it does"]


def _checked(listing: SourceListing, params: DataParams) -> SourceListing:
    """Return a listing sorted and with clean labels.

    Raises:
        UserError: the name of a class isn't Unicode, or there are fewer than two classes.
    """
    files = sorted(listing.files, key=lambda file: file.path)
    no_unicode = next((file.label for file in files if not is_unicode(file.label)), None)
    if no_unicode is not None:
        raise UserError(f"the class {printable(no_unicode)} in {listing.root} is not valid Unicode: rename it")
    listing = clean_listing(replace(listing, files=files), params.label_case)
    labels = sorted({file.label for file in listing.files})
    if len(labels) < 2:
        raise UserError(_too_few_classes(listing, labels, params))
    return listing


def _too_few_classes(listing: SourceListing, labels: list[str], params: DataParams) -> str:
    by_table = params.source == "manifest" or (params.source == "archive" and table_discovery.manifest_in(listing.root))
    mend = "put the images of each of at least two classes into a folder of its own"
    if by_table:
        mend = "list images of at least two"
    elif params.source == "folder" and not params.fetched:
        better = path_suggestions.suggest_table(params.root) or path_suggestions.suggest_folder(params.root)
        mend = f"{better}, or {mend}" if better else mend
    if labels:
        return f"{params.root} has only the class '{printable(labels[0])}' ({len(listing.files)} files): {mend}"
    others = counted_kinds(listing.passed_over)
    only = f", only {', '.join(others)}" if others else ""
    return f"{params.root} has no class folders{only}: {mend}"
