"""Which folders of a tree are splits, and which are classes."""

import unicodedata
from collections.abc import Mapping

from tasks.data.sources import split_names
from tasks.data.sources.folder_tree import Folder
from tasks.data.sources.split_names import NOT_LABELLED

Roles = Mapping[str, str]  # ``train``, ``val``, ``test`` or ``NOT_LABELLED``, by the name of a folder


def with_the_classes(top: Folder) -> Folder:
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


def split_roles(place: Folder) -> Roles:
    """Return which splits the folders in a folder are; folders without images, such as of annotations, aside."""
    candidates = [folder for folder in place.folders if folder.count or split_names.is_usual(folder.name)]
    roles = split_names.roles([folder.name for folder in candidates])
    if candidates and all(split_names.is_usual(name) for name in roles):
        return roles
    has_classes = any(folder.full for folder in candidates if roles.get(folder.name) == "train")
    return roles if has_classes else {}


def split_roles_in_classes(place: Folder) -> Roles:
    """Return which splits the folders in class folders are, if all are, and train is among them."""
    inner = sorted({folder.name for label in place.full for folder in label.full})
    roles = split_names.roles(inner)
    return roles if "train" in roles.values() and NOT_LABELLED not in roles.values() else {}


def unwrapped(split: Folder) -> Folder:
    """Return the folder that has a split's classes: itself, or a single one in it whose name says nothing else."""
    while len(split.folders) == 1 and not split.images:
        inner = split.folders[0]
        if inner.name.casefold() != split.name.casefold() and not split_names.says_nothing(inner.name):
            break
        split = inner
    return split


def class_names(split: Folder) -> list[str]:
    """Return the names of the folders with images, in the one spelling that capitals and accents have."""
    return [unicodedata.normalize("NFC", folder.name).casefold() for folder in split.full]


def has_trained_class(split: Folder, trained: set[str]) -> bool:
    """Return whether a split has a folder of a class that is trained on, or no images but those it has loose."""
    return not split.full or any(name in trained for name in class_names(split))


def _has_files(folder: Folder) -> bool:
    return any(inner.passed_over or inner.images for inner in folder.below())
