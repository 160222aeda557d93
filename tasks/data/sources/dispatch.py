"""From the params to the labelled files."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from tasks.data.sources import archives, elpv, folders, followed_links, path_suggestions, tables
from tasks.data.sources.label_spelling import cleaned
from tasks.data.sources.listing import Found, is_unicode, shown
from tasks.data.sources.passed_over import counted
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

    The path of a file whose name isn't Unicode is as the system gives it, which opens the file.

    Raises:
        UserError: the path is missing or is not what the source reads, a class is empty, there are fewer than two
            classes, the name of a class isn't Unicode, or an archive or a manifest can't be used.
    """
    root = params.root
    _must_suit(params)
    match params.source:
        case "elpv":
            found = Found(root, list(elpv.files(root, params.defective_over)))
        case "manifest":
            found = tables.find(root, params.label_case)
        case "archive":
            found = _in_archive(archives.unpacked(root, work, params.max_files, params.max_unpacked_bytes), params)
        case _:
            found = followed_links.counted(folders.find(root, params), params)
            found.notes.extend(_unread_table(root))
    return _checked(found, params)


def _must_suit(params: DataParams) -> None:
    root = params.root
    if params.source == "manifest" and root.exists():
        tables.must_be_told(root)
    if not root.exists():
        kind = "file" if params.source in {"archive", "manifest"} and root.suffix else "folder"
        mend = f"correct data.path in params.yaml{path_suggestions.better_name(root)}"
        if params.fetched:
            mend = "run 'dvc repro' to fetch it"
        raise UserError(f"the data {kind} {root} does not exist: {mend}")
    suits = {
        "manifest": (tables.is_table(root) and root.is_file())
        or (params.source == "manifest" and tables.at_top(root) is not None),
        "archive": archives.is_archive(root) and root.is_file(),
    }
    if suits.get(params.source, root.is_dir()):
        return
    what = "a folder" if root.is_dir() else "a file"
    raise UserError(f"{root} is {what}, but 'source: {params.source}' reads {WANTED[params.source]}: {_likely(root)}")


def _likely(path: Path) -> str:
    """Return what to write so that a path is read."""
    if path.is_dir():
        return (
            path_suggestions.better_table(path)
            or f"write 'source: folder' for it{_then(path_suggestions.better_folder(path))}"
        )
    if tables.is_table(path):
        return "write 'source: manifest' for it"
    return "write 'source: archive' for it" if archives.is_archive(path) else "correct data.path in params.yaml"


def _then(advice: str) -> str:
    return f", and {advice}" if advice else ""


def _unread_table(root: Path) -> list[str]:
    table = tables.at_top(root)
    return (
        [f"{table.name} isn't read, the folders say the classes: write 'source: manifest' if it does"] if table else []
    )


def _in_archive(unpacked: archives.Unpacked, params: DataParams) -> Found:
    if tables.at_top(unpacked.top) is None:
        found = folders.find(unpacked.folder, params, params.root)
        return found.seen_from(unpacked.top, unpacked.notes)
    found = tables.find(unpacked.top, params.label_case)
    return replace(found, notes=[*unpacked.notes, *found.notes])


def _checked(found: Found, params: DataParams) -> Found:
    files = sorted(found.files, key=lambda file: file.path)
    odd = next((file.label for file in files if not is_unicode(file.label)), None)
    if odd is not None:
        raise UserError(f"the class {shown(odd)} in {found.root} is not valid Unicode: rename it")
    found = cleaned(replace(found, files=files), params.label_case)
    labels = sorted({file.label for file in found.files})
    if len(labels) < 2:
        raise UserError(_too_few(found, labels, params))
    return found


def _too_few(found: Found, labels: list[str], params: DataParams) -> str:
    by_table = params.source == "manifest" or (params.source == "archive" and tables.at_top(found.root))
    mend = "put the images of each of at least two classes into a folder of its own"
    if by_table:
        mend = "list images of at least two"
    elif params.source == "folder" and not params.fetched:
        better = path_suggestions.better_table(params.root) or path_suggestions.better_folder(params.root)
        mend = f"{better}, or {mend}" if better else mend
    if labels:
        return f"{params.root} has only the class '{shown(labels[0])}' ({len(found.files)} files): {mend}"
    return f"{params.root} has no class folders{_but(found)}: {mend}"


def _but(found: Found) -> str:
    """Return what a source has instead of labelled images."""
    kinds = Counter(file.kind for file in found.passed_over)
    return f", only {', '.join(counted(count, kind) for kind, count in kinds.most_common())}" if kinds else ""
