"""Which column of a table is which, by the names that people give them."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.data.sources.label_spelling import stripped
from tasks.errors import NOTED, UserError, listed, nearest

NEEDED = ("path", "label")
OPTIONAL = ("split", "group", "subset", "weight")
KNOWN = (*NEEDED, *OPTIONAL)
MISSPELT = 0.85
# Without underscores, blanks and case. The second names of each are taken only where there is none of the first.
USUAL: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "path": (
        (
            "file", "filename", "filepath", "fname", "fpath", "image", "imagefile", "imagefilename", "imageid",
            "imagename", "imagepath", "img", "imgfile", "imgfilename", "imgid", "imgname", "imgpath", "photo",
            "photoid", "photoname", "photopath", "picture", "relativepath", "relpath",
        ),
        ("fileid", "id", "name"),
    ),
    "label": (
        (
            "breed", "category", "categoryname", "class", "classlabel", "classname", "cls", "diagnosis", "dx",
            "labelname", "species", "target",
        ),
        ("categoryid", "classid", "labelid", "labels", "targetid", "y"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class ChosenColumns:
    """Where the known columns of a table are.

    Attributes:
        places: of the columns that are there, by their known names.
        notes: which were taken under another name.
    """

    places: dict[str, int]
    notes: list[str] = field(default_factory=list)


def has_needed(names: Sequence[str]) -> bool:
    """Return whether columns of such names would do for a path and a label."""
    return all(_candidates(column, names) for column in NEEDED)


def has_path(names: Sequence[str]) -> bool:
    """Return whether one of several columns could be the path."""
    return len(names) > 1 and bool(_candidates("path", names))


def choose_columns(header: Sequence[str], source: Path) -> ChosenColumns:
    """Return where the known columns are; the label's may be missing.

    Raises:
        UserError: a column is there twice, several could be meant, there is no path, or a name is misspelt.
    """
    names = [stripped(name) for name in header]
    lowered = [name.lower() for name in names]
    for column in KNOWN:
        if lowered.count(column) > 1:
            raise UserError(f"{source} has the column '{column}' twice: keep one")
    places = {column: lowered.index(column) for column in OPTIONAL if column in lowered}
    notes = []
    for column in NEEDED:
        candidates = _candidates(column, names)
        if len(candidates) > 1:
            several = ", ".join(f"'{names[place]}'" for place in candidates)
            raise UserError(f"{source} has no column '{column}', but several that may be it: {several}: rename one")
        if candidates:
            places[column] = candidates[0]
            if lowered[candidates[0]] != column:
                notes.append(f"took the column '{names[candidates[0]]}' of {source.name} for the {column}")
    if "path" not in places:
        raise missing_column("path", names, source)
    _must_be_spelt_right([name for name in names if name.lower() not in KNOWN], places, source)
    return ChosenColumns(places, notes)


def missing_column(column: str, names: Sequence[str], source: Path) -> UserError:
    """Return the error that a table lacks a column, with the nearest of its names."""
    others = [stripped(name) for name in names if stripped(name).lower() not in NEEDED and stripped(name)]
    return UserError(f"{source} has no column '{column}'{nearest(column, others)}: name it '{column}'")


def one_hot_classes(
    header: Sequence[str], cells: Sequence[Sequence[str]], chosen: ChosenColumns, source: Path
) -> tuple[list[str], str] | None:
    """Return the class of each row where columns of 0 and 1 mark it, and a note on it; None without such columns.

    Raises:
        UserError: a row is marked as several classes, or as none.
    """
    others = [place for place in range(len(header)) if place not in chosen.places.values() and stripped(header[place])]
    one_hot = [place for place in others if all(_truth(row[place]) is not None for row in cells)]
    if len(one_hot) < 2:
        return None
    names = [stripped(header[place]) for place in one_hot]
    columns = f"the {len(one_hot)} columns of 0 and 1 ({listed(names, NOTED)})"
    classes = []
    for row in cells:
        marked = [name for place, name in zip(one_hot, names, strict=True) if _truth(row[place])]
        if len(marked) != 1:
            path = row[chosen.places["path"]]
            several = f"several classes ({listed(marked, NOTED)})" if marked else "no class"
            raise UserError(
                f"{source} has no column 'label', and {columns} mark {path!a} as {several}: an image is learned as one "
                "class here, so add a column 'label' with the one of each image"
            )
        classes += marked
    return classes, f"took the class of each image from {columns} of {source.name}"


def _candidates(column: str, names: Sequence[str]) -> list[int]:
    """Return the places of the columns that may be meant by a name, the best ones alone."""
    plain = [re.sub(r"[\W_]+", "", name).lower() for name in names]
    for accepted in ((column,), *USUAL[column]):
        if candidates := [place for place, name in enumerate(plain) if name in accepted]:
            return candidates
    return []


def _must_be_spelt_right(unknown: Sequence[str], places: Mapping[str, int], source: Path) -> None:
    for column in OPTIONAL:
        close = difflib.get_close_matches(column, unknown, n=1, cutoff=MISSPELT)
        if column not in places and close:
            raise UserError(f"{source} has a column '{close[0]}', which is not read: name it '{column}' or remove it")


def _truth(text: str) -> bool | None:
    """Return what a value says that marks a class or doesn't; None for any other."""
    return {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}.get(stripped(text).lower())
