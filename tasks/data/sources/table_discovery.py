"""Which table in a folder is the manifest."""

from pathlib import Path

from tasks.data.sources.label_spelling import clean_label
from tasks.data.sources.table_columns import has_needed, has_path
from tasks.data.sources.table_reading import read_header, read_known_columns
from tasks.errors import UserError
from tasks.params import TABLES

USUAL_NAMES = ("manifest.csv", "manifest.tsv", "manifest.parquet", "labels.csv")
NO_TABLE = "submission"  # in the name of a table whose labels are made up


def is_table(path: Path) -> bool:
    """Return whether a file's name is that of a table."""
    return path.suffix.lower() in TABLES


def manifest_in(folder: Path) -> Path | None:
    """Return the manifest that lies in a folder: under one of its usual names, or the only one with paths and labels.

    The latter is passed by where the folder has folders that are called like its labels.
    """
    usual = next((folder / name for name in USUAL_NAMES if (folder / name).is_file()), None)
    if usual is not None or not folder.is_dir():
        return usual
    tables = _with_labels(folder)
    return tables[0] if len(tables) == 1 and not _has_class_folders(folder, tables[0]) else None


def candidates_in(folder: Path) -> list[Path]:
    """Return the tables in a folder that have paths and labels, or else all that may be tables of images."""
    return _with_labels(folder) or _tables_in(folder)


def _with_labels(folder: Path) -> list[Path]:
    """Return the tables in a folder that have paths and labels, or else those with paths and columns of 0 and 1."""
    headers = {path: read_header(path) for path in _tables_in(folder)}
    labelled = [path for path, names in headers.items() if has_needed(names)]
    return labelled or [path for path, names in headers.items() if has_path(names) and _is_usable(path)]


def _is_usable(table: Path) -> bool:
    try:
        read_known_columns(table)
    except UserError:
        return False
    return True


def _tables_in(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.suffix.lower() in TABLES and path.suffix.lower() != ".txt")
    return sorted(path for path in files if path.is_file() and NO_TABLE not in path.name and path.name[0] != ".")


def _has_class_folders(folder: Path, table: Path) -> bool:
    """Return whether folders in a folder, or in those, are called like labels of a table."""
    folders = {clean_label(path.name).casefold() for path in (*folder.glob("*/"), *folder.glob("*/*/"))}
    if not folders:
        return False
    try:
        columns, _ = read_known_columns(table)
    except UserError:
        return False
    return not folders.isdisjoint(clean_label(label).casefold() for label in columns["label"].unique())
