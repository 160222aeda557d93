"""A folder a class: with folders of splits above or in them, or without."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.data.reading import is_grey
from tasks.data.sources import folder_tree, split_names
from tasks.data.sources.folder_tree import Folder
from tasks.data.sources.listing import UNLABELLED, Found, LabelledFile, PassedOver, is_unicode, kept, shown
from tasks.data.sources.passed_over import NO_UNICODE, counted, said
from tasks.data.sources.split_names import NOT_LABELLED
from tasks.errors import UserError, listed
from tasks.params import DataParams

Roles = Mapping[str, str]
MEND = (
    "name the outer ones after splits (train, val, test) if they are, else move the inner ones to the top, or list the "
    "images in a table ('source: manifest')"
)


@dataclass
class _Listing:
    """What was understood so far."""

    files: list[LabelledFile] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find(root: Path, params: DataParams, called: Path | None = None) -> Found:
    """List the images of every class folder, those that have no class, and what else there is.

    Args:
        root: the folder.
        params: limits of what is opened as an image.
        called: what the folder is called in sentences; its own path where nothing is given.

    Raises:
        UserError: a class is empty, splits are beside other folders, there is no train folder among them, or a
            folder's name isn't Unicode or it may not be read.
    """
    anywhere = (Path("/"),) if params.follow_links else ()
    top = folder_tree.read(
        root, lambda path: is_grey(root, path, params, anywhere) is not None, follow=params.follow_links
    )
    found = _Listing()
    _list(top, called or root, found)
    known = [path for path in found.unlabelled if is_unicode(path)]
    passed_over = [file for folder in top.below() for file in folder.passed_over]
    passed_over += [PassedOver(path, UNLABELLED) for path in known]
    passed_over += [PassedOver(kept(path), NO_UNICODE) for path in found.unlabelled if not is_unicode(path)]
    passed_over.sort(key=lambda file: (file.path, file.kind))
    return Found(root, found.files, passed_over, [*found.notes, *said(passed_over)])


def _list(top: Folder, root: Path, found: _Listing) -> None:
    place = _with_the_classes(top)
    if place is not top:
        found.notes.append(f"{shown(place.path)} is the only folder with images: its folders are taken, not itself")
    roles = _roles(place)
    if roles:
        _list_splits(place, roles, root, found)
        return
    _set_loose_apart(place, root, found)
    _must_not_mix(place, root)
    inner = _roles_within(place)
    if inner:
        _list_classes_with_splits(place, inner, root, found)
    else:
        _list_classes(_labelled(place, found), "", root, found)
    found.notes += [
        f"the folder {shown(name)} is read as a class, as the folders beside it are: if it is a split, put its "
        "images into folders of classes, and what is beside it into another split"
        for name in sorted({file.label for file in found.files})
        if split_names.could_be(name) and not inner
    ]


def _with_the_classes(top: Folder) -> Folder:
    """Return the folder that has the folders of classes or splits: this one, or that inside the only one in it.

    Folders beside it that have files, and none of them an image, are of no class.
    """
    place = top
    while not place.images:
        candidates = [folder for folder in place.folders if folder.count or not _has_files(folder)]
        if len(candidates) != 1 or split_names.is_usual(candidates[0].name):
            break
        (place,) = candidates
    is_right = len(place.full) > 1 or any(split_names.is_usual(folder.name) for folder in place.full)
    return place if is_right else top


def _has_files(folder: Folder) -> bool:
    return any(inner.passed_over or inner.images for inner in folder.below())


def _roles(place: Folder) -> Roles:
    """Return which splits the folders in a folder are; folders without images, such as of annotations, aside."""
    candidates = [folder for folder in place.folders if folder.count or split_names.is_usual(folder.name)]
    roles = split_names.roles([folder.name for folder in candidates])
    if candidates and all(split_names.is_usual(name) for name in roles):
        return roles
    has_classes = any(folder.full for folder in candidates if roles.get(folder.name) == "train")
    return roles if has_classes else {}


def _must_not_mix(place: Folder, root: Path) -> None:
    """Refuse splits beside other folders, which would become classes."""
    splits = [folder for folder in place.full if split_names.is_usual(folder.name)]
    others = [folder.name for folder in place.full if not split_names.is_usual(folder.name)]
    if others and any(folder.full for folder in splits):
        raise UserError(
            f"{_at(root, place)} has folders of splits beside the folder {shown(others[0])}: move it into a split or "
            "away"
        )


def _list_splits(place: Folder, roles: Roles, root: Path, found: _Listing) -> None:
    if "train" not in roles.values():
        raise UserError(
            f"{_at(root, place)} has the splits {', '.join(map(shown, roles))} but no train folder: add one"
        )
    _note_roles(place, roles, root, found)
    _set_loose_apart(place, root, found)
    splits = {folder.name: _unwrapped(folder) for folder in place.folders if folder.name in roles}
    trained = {name for split, role in roles.items() if role == "train" for name in _names(splits[split])}
    apart: dict[str, list[tuple[Folder, int]]] = {}
    for name, folder in splits.items():
        role = roles[name]
        _must_have_no_links(folder, root)
        if role == "train" and not folder.full:
            loose = f"{_counted(len(folder.images))} but " if folder.images else ""
            raise UserError(
                f"{_at(root, folder)} has {loose}no class folders with images: put those of each of at least two "
                "classes into a folder of its own, or list them in a table ('source: manifest')"
            )
        if role == NOT_LABELLED or (role != "train" and not _knows_any(folder, trained)):
            alone = [path for inner in folder.below() for path in inner.images]
        else:
            alone = folder.images
            _list_classes(_labelled(folder, found), role, root, found)
        found.unlabelled += alone
        if alone:
            apart.setdefault(role, []).append((folder, len(alone)))
    _note_unlabelled(apart, found)


def _note_roles(place: Folder, roles: Roles, root: Path, found: _Listing) -> None:
    others = [folder.name for folder in place.folders if folder.name not in roles]
    if any(name.casefold() != role for name, role in roles.items()):
        words = {NOT_LABELLED: "images without labels"}
        read = [f"{shown(name)} is {words.get(role, role)}" for name, role in roles.items()]
        found.notes.append(f"the folders of {_at(root, place)} are read as splits: {', '.join(read)}")
    if others:
        found.notes.append(f"{listed([shown(name) for name in others])}, beside the splits, has no images")


def _note_unlabelled(apart: Mapping[str, Sequence[tuple[Folder, int]]], found: _Listing) -> None:
    """Say of every split how many images in it have no class, and what becomes of a split that has no others."""
    given = {file.split for file in found.files}
    for role, folders in apart.items():
        drawn = f"; a {role} split is drawn from train" if role in {"val", "test"} and role not in given else ""
        for folder, count in folders:
            where = "no class folder" if role != NOT_LABELLED and not folder.full else "no folder of a class of train"
            found.notes.append(_without_label(count, shown(folder.path), where) + drawn)


def _unwrapped(split: Folder) -> Folder:
    """Return the folder that has a split's classes: itself, or a single one in it whose name says nothing else."""
    while len(split.folders) == 1 and not split.images:
        inner = split.folders[0]
        if inner.name.casefold() != split.name.casefold() and not split_names.says_nothing(inner.name):
            break
        split = inner
    return split


def _names(split: Folder) -> list[str]:
    """Return the names of the folders with images, in the one spelling that capitals and accents have."""
    return [unicodedata.normalize("NFC", folder.name).casefold() for folder in split.full]


def _knows_any(split: Folder, trained: set[str]) -> bool:
    """Return whether a split has a folder of a class that is trained on, or no images but those it has loose."""
    return not split.full or any(name in trained for name in _names(split))


def _roles_within(place: Folder) -> Roles:
    """Return which splits the folders in class folders are, if all are, and train is among them."""
    inner = sorted({folder.name for label in place.full for folder in label.full})
    roles = split_names.roles(inner)
    return roles if "train" in roles.values() and NOT_LABELLED not in roles.values() else {}


def _list_classes_with_splits(place: Folder, roles: Roles, root: Path, found: _Listing) -> None:
    read = [f"{shown(name)} is {role}" for name, role in roles.items()]
    found.notes.append(f"the folders within the class folders are read as splits: {', '.join(read)}")
    for label in place.folders:
        _must_be_a_class(label, root)
        for folder in label.full:
            found.files += _files(folder, label.name, roles[folder.name])
        found.files += [LabelledFile(path, label.name) for path in label.images]
        if label.images and label.full:
            found.notes.append(f"{_counted(len(label.images))} in {shown(label.path)} lie in none of its splits")


def _labelled(place: Folder, found: _Listing) -> list[Folder]:
    """Return the folders that are classes, having set apart those whose name says that they are none."""
    apart = [folder for folder in place.full if split_names.is_unlabelled(folder.name)]
    for folder in apart:
        found.unlabelled += [path for inner in folder.below() for path in inner.images]
        found.notes.append(_without_label(folder.count, shown(folder.path), "as its name says"))
    return [folder for folder in place.folders if folder not in apart]


def _list_classes(labels: Sequence[Folder], split: str, root: Path, found: _Listing) -> None:
    for label in labels:
        _must_be_a_class(label, root)
    for label in labels:
        found.files += _files(label, label.name, split)
    _note_inner(labels, found)


def _note_inner(labels: Sequence[Folder], found: _Listing) -> None:
    """Say that folders within class folders are no classes, and whether they might be: each has the same ones."""
    outer = [label for label in labels if label.full]
    if not outer:
        return
    images = sum(label.count - len(label.images) for label in outer)
    example = next(folder for folder in outer[0].below() if folder.images and folder is not outer[0])
    found.notes.append(
        f"{_counted(images)} in folders within {listed([shown(label.path) for label in outer])}, such as "
        f"{shown(example.path)}, {'is' if images == 1 else 'are'} of the class that the outer folder is named after"
    )
    shared = set.intersection(*(set(_names(label)) for label in outer))
    if len(outer) > 1 and len(shared) > 1:
        found.notes.append(
            f"{listed([shown(label.path) for label in outer])} have the same folders in them "
            f"({listed(sorted(map(shown, shared)))}): if those are the classes, {MEND}"
        )


def _must_be_a_class(label: Folder, root: Path) -> None:
    """Refuse a class folder without images, or whose name can't be a label."""
    if not is_unicode(label.name):
        raise UserError(f"the name of the folder {_at(root, label)} is not valid Unicode: rename it")
    if label.count:
        return
    kinds = Counter(file.kind for folder in label.below() for file in folder.passed_over)
    there = f" but for {listed([counted(count, kind) for kind, count in kinds.most_common()])}" if kinds else ""
    raise UserError(f"the class folder {_at(root, label)} is empty{there}: add images to it or remove it")


def _set_loose_apart(place: Folder, root: Path, found: _Listing) -> None:
    """Take images beside the folders for unlabelled."""
    _must_have_no_links(place, root)
    count = len(place.images)
    found.unlabelled += place.images
    if count and place.folders:
        found.notes.append(_without_label(count, f"{_at(root, place)} itself", "beside the class folders"))


def _must_have_no_links(place: Folder, root: Path) -> None:
    """Refuse links where folders of splits or classes are expected."""
    if place.links:
        raise UserError(
            f"{_at(root, place)}/{shown(place.links[0])} is a link to a folder, which is not followed: put the folder "
            "itself there, or write 'follow_links: true' under 'data'"
        )


def _files(folder: Folder, label: str, split: str) -> list[LabelledFile]:
    return [LabelledFile(path, label, split=split) for inner in folder.below() for path in inner.images]


def _counted(count: int) -> str:
    return counted(count, "images")


def _without_label(count: int, where: str, why: str) -> str:
    has = "has" if count == 1 else "have"
    return f"{_counted(count)} in {where} {has} no label ({why}): not trained on, scored by the champion at the end"


def _at(root: Path, folder: Folder) -> str:
    return shown((root / folder.path).as_posix())
