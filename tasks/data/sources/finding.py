"""From the params to the labelled files."""

from dataclasses import replace
from pathlib import Path

from tasks.data.sources import archives, elpv, folders, links, tables
from tasks.data.sources.listing import Found, LabelledFile
from tasks.errors import UserError
from tasks.params import TABLES, DataParams

WANTED = {
    "elpv": "a folder",
    "folder": "a folder with a folder a class",
    "torchvision": "a folder with a folder a class",
    "manifest": f"a table ({', '.join(TABLES)}), or a folder with {' or '.join(tables.AT_TOP)} in it",
    "archive": f"an archive ({', '.join(archives.SUFFIXES)})",
}


def find(params: DataParams, work: Path) -> Found:
    """List the labelled files of a source, sorted by path.

    Args:
        params: where they are.
        work: where an archive is unpacked, in a folder of its own that is used again.

    Raises:
        UserError: the path is missing or is not what the source reads, a class is empty, there are fewer than two
            classes, a name isn't Unicode, or an archive or a manifest can't be used.
    """
    root = params.root
    _must_suit(params)
    match params.source:
        case "elpv":
            found = Found(root, list(elpv.files(root, params.defective_over)))
        case "manifest":
            found = _by_table(root)
        case "archive":
            inside = archives.unpacked(root, work, params.max_files, params.max_unpacked_bytes)
            found = _by_table(inside) if tables.at_top(inside) else Found(inside, list(folders.files(inside)))
        case _:
            found = links.counted(Found(root, list(folders.files(root, follow=params.follow_links))), params)
    return _checked(found, params)


def _must_suit(params: DataParams) -> None:
    root = params.root
    if not root.exists():
        kind = "file" if params.source in {"archive", "manifest"} and root.suffix else "folder"
        mend = "run 'dvc repro' to fetch it" if params.fetched else "correct data.path in params.yaml"
        raise UserError(f"the data {kind} {root} does not exist: {mend}")
    suits = {
        "manifest": (tables.is_table(root) and root.is_file()) or tables.at_top(root) is not None,
        "archive": archives.is_archive(root) and root.is_file(),
    }
    if suits.get(params.source, root.is_dir()):
        return
    what = "a folder" if root.is_dir() else "a file"
    likely = _likely(root)
    mend = f"write 'source: {likely}' for it" if likely else "correct data.path in params.yaml"
    raise UserError(f"{root} is {what}, but 'source: {params.source}' reads {WANTED[params.source]}: {mend}")


def _likely(path: Path) -> str:
    """Return the source that reads a path, or an empty text."""
    if path.is_dir():
        return "folder"
    if tables.is_table(path):
        return "manifest"
    return "archive" if archives.is_archive(path) else ""


def _by_table(path: Path) -> Found:
    table = tables.at_top(path) or path
    return Found(table.parent, tables.files(table))


def _checked(found: Found, params: DataParams) -> Found:
    files = sorted(found.files, key=lambda file: file.path)
    odd = next((text for file in files for text in (file.path, file.label) if not _is_unicode(text)), None)
    if odd is not None:
        raise UserError(f"the name of the file {odd!a} in {found.root} is not valid Unicode: rename it")
    labels = sorted({file.label for file in files})
    if len(labels) < 2:
        raise UserError(_too_few(found.root, files, labels, params))
    return replace(found, files=files)


def _too_few(root: Path, files: list[LabelledFile], labels: list[str], params: DataParams) -> str:
    if labels:
        mend = "put the images of each of at least two classes into a folder of its own"
        if params.source == "manifest" or tables.at_top(root):
            mend = "list images of at least two"
        return f"{params.root} has only the class '{labels[0]}' ({len(files)} files): {mend}"
    return (
        f"{params.root} has no class folders: put the images of each of at least two classes into a folder of its own"
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
