"""A folder a class: with folders of splits above or in them, or without."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.data.reading import is_grey
from tasks.data.sources import folder_layout, passed_over, split_names
from tasks.data.sources.file_names import as_unicode, is_unicode, printable
from tasks.data.sources.folder_layout import Roles, class_names
from tasks.data.sources.folder_tree import Folder, read_tree
from tasks.data.sources.listing import UNLABELLED, LabelledFile, PassedOver, SourceListing
from tasks.data.sources.passed_over import NO_UNICODE, counted_kinds
from tasks.data.sources.split_names import NOT_LABELLED
from tasks.errors import UserError, listed
from tasks.params import DataParams
from tasks.wording import counted, have

MEND = (
    "name the outer ones after splits (train, val, test) if they are, else move the inner ones to the top, or list the "
    "images in a table ('source: manifest')"
)


@dataclass
class _Draft:
    """What was understood so far of the folders below ``root``.

    Attributes:
        root: what the top folder is called in sentences.
        files: with their classes.
        unlabelled: paths of images without a class.
        notes: sentences on how the folders were understood.
    """

    root: Path
    files: list[LabelledFile] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def called(self, folder: Folder) -> str:
        """Return what a folder is called in sentences."""
        return printable((self.root / folder.path).as_posix())

    def add(self, folder: Folder, label: str, split: str) -> None:
        """Take all images in a folder, at any depth, for those of a class."""
        self.files += [LabelledFile(path, label, split=split) for inner in folder.below() for path in inner.images]

    def set_apart(self, folder: Folder) -> None:
        """Take all images in a folder, at any depth, for unlabelled."""
        self.unlabelled += [path for inner in folder.below() for path in inner.images]


def find(root: Path, params: DataParams, called: Path | None = None) -> SourceListing:
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
    top = read_tree(root, lambda path: is_grey(root, path, params, anywhere) is not None, follow=params.follow_links)
    draft = _Draft(called or root)
    _list(top, draft)
    others = [file for folder in top.below() for file in folder.passed_over]
    others += [PassedOver(path, UNLABELLED) for path in draft.unlabelled if is_unicode(path)]
    others += [PassedOver(as_unicode(path), NO_UNICODE) for path in draft.unlabelled if not is_unicode(path)]
    others.sort(key=lambda file: (file.path, file.kind))
    return SourceListing(root, draft.files, others, [*draft.notes, *passed_over.notes_on(others)])


def _list(top: Folder, draft: _Draft) -> None:
    place = folder_layout.with_the_classes(top)
    if place is not top:
        draft.notes.append(f"{printable(place.path)} is the only folder with images: its folders are taken, not itself")
    roles = folder_layout.split_roles(place)
    if roles:
        _list_splits(place, roles, draft)
        return
    _set_loose_apart(place, draft)
    _must_not_mix(place, draft)
    inner_roles = folder_layout.split_roles_in_classes(place)
    if inner_roles:
        _list_classes_with_splits(place, inner_roles, draft)
        return
    _list_classes(_labelled(place, draft), "", draft)
    draft.notes += [
        f"the folder {printable(name)} is read as a class, as the folders beside it are: if it is a split, put its "
        "images into folders of classes, and what is beside it into another split"
        for name in sorted({file.label for file in draft.files})
        if split_names.could_be(name)
    ]


def _must_not_mix(place: Folder, draft: _Draft) -> None:
    """Refuse splits beside other folders, which would become classes."""
    splits = [folder for folder in place.full if split_names.is_usual(folder.name)]
    others = [folder.name for folder in place.full if not split_names.is_usual(folder.name)]
    if others and any(folder.full for folder in splits):
        raise UserError(
            f"{draft.called(place)} has folders of splits beside the folder {printable(others[0])}: move it into a "
            "split or away"
        )


def _list_splits(place: Folder, roles: Roles, draft: _Draft) -> None:
    if "train" not in roles.values():
        raise UserError(
            f"{draft.called(place)} has the splits {', '.join(map(printable, roles))} but no train folder: add one"
        )
    _note_roles(place, roles, draft)
    _set_loose_apart(place, draft)
    splits = {folder.name: folder_layout.unwrapped(folder) for folder in place.folders if folder.name in roles}
    trained = {name for split, role in roles.items() if role == "train" for name in class_names(splits[split])}
    unlabelled: dict[str, list[tuple[Folder, int]]] = {}  # folders and their images without a label, by the split
    for name, folder in splits.items():
        if count := _list_split(folder, roles[name], trained, draft):
            unlabelled.setdefault(roles[name], []).append((folder, count))
    _note_unlabelled(unlabelled, draft)


def _list_split(folder: Folder, role: str, trained: set[str], draft: _Draft) -> int:
    """List a split's classes, or set all of it apart where none of them is trained on; return how many images are."""
    _must_have_no_links(folder, draft)
    if role == "train" and not folder.full:
        loose = f"{counted(len(folder.images), 'images')} but " if folder.images else ""
        raise UserError(
            f"{draft.called(folder)} has {loose}no class folders with images: put those of each of at least two "
            "classes into a folder of its own, or list them in a table ('source: manifest')"
        )
    if role == NOT_LABELLED or (role != "train" and not folder_layout.has_trained_class(folder, trained)):
        draft.set_apart(folder)
        return folder.count
    _list_classes(_labelled(folder, draft), role, draft)
    draft.unlabelled += folder.images
    return len(folder.images)


def _note_roles(place: Folder, roles: Roles, draft: _Draft) -> None:
    others = [folder.name for folder in place.folders if folder.name not in roles]
    if any(name.casefold() != role for name, role in roles.items()):
        words = {NOT_LABELLED: "images without labels"}
        read = [f"{printable(name)} is {words.get(role, role)}" for name, role in roles.items()]
        draft.notes.append(f"the folders of {draft.called(place)} are read as splits: {', '.join(read)}")
    if others:
        draft.notes.append(f"{listed([printable(name) for name in others])}, beside the splits, has no images")


def _note_unlabelled(unlabelled: Mapping[str, Sequence[tuple[Folder, int]]], draft: _Draft) -> None:
    """Say of every split how many images in it have no class, and what becomes of a split that has no others."""
    given = {file.split for file in draft.files}
    for role, folders in unlabelled.items():
        drawn = f"; a {role} split is drawn from train" if role in {"val", "test"} and role not in given else ""
        for folder, count in folders:
            why = "no class folder" if role != NOT_LABELLED and not folder.full else "no folder of a class of train"
            draft.notes.append(_without_label(count, printable(folder.path), why) + drawn)


def _list_classes_with_splits(place: Folder, roles: Roles, draft: _Draft) -> None:
    read = [f"{printable(name)} is {role}" for name, role in roles.items()]
    draft.notes.append(f"the folders within the class folders are read as splits: {', '.join(read)}")
    for label in place.folders:
        _must_be_a_class(label, draft)
        for split in label.full:
            draft.add(split, label.name, roles[split.name])
        draft.files += [LabelledFile(path, label.name) for path in label.images]
        if label.images and label.full:
            count = counted(len(label.images), "images")
            draft.notes.append(f"{count} in {printable(label.path)} lie in none of its splits")


def _labelled(place: Folder, draft: _Draft) -> list[Folder]:
    """Return the folders that are classes, having set apart those whose name says that they are none."""
    unlabelled = [folder for folder in place.full if split_names.is_unlabelled(folder.name)]
    for folder in unlabelled:
        draft.set_apart(folder)
        draft.notes.append(_without_label(folder.count, printable(folder.path), "as its name says"))
    return [folder for folder in place.folders if folder not in unlabelled]


def _list_classes(labels: Sequence[Folder], split: str, draft: _Draft) -> None:
    for label in labels:
        _must_be_a_class(label, draft)
    for label in labels:
        draft.add(label, label.name, split)
    _note_inner(labels, draft)


def _note_inner(labels: Sequence[Folder], draft: _Draft) -> None:
    """Say that folders within class folders are no classes, and whether they might be: each has the same ones."""
    outer = [label for label in labels if label.full]
    if not outer:
        return
    count = sum(label.count - len(label.images) for label in outer)
    example = next(folder for folder in outer[0].below() if folder.images and folder is not outer[0])
    names = listed([printable(label.path) for label in outer])
    draft.notes.append(
        f"{counted(count, 'images')} in folders within {names}, such as {printable(example.path)}, "
        f"{'is' if count == 1 else 'are'} of the class that the outer folder is named after"
    )
    shared = set.intersection(*(set(class_names(label)) for label in outer))
    if len(outer) > 1 and len(shared) > 1:
        draft.notes.append(
            f"{names} have the same folders in them ({listed(sorted(map(printable, shared)))}): if those are the "
            f"classes, {MEND}"
        )


def _must_be_a_class(label: Folder, draft: _Draft) -> None:
    """Refuse a class folder without images, or whose name can't be a label."""
    if not is_unicode(label.name):
        raise UserError(f"the name of the folder {draft.called(label)} is not valid Unicode: rename it")
    if label.count:
        return
    others = counted_kinds([file for folder in label.below() for file in folder.passed_over])
    there = f" but for {listed(others)}" if others else ""
    raise UserError(f"the class folder {draft.called(label)} is empty{there}: add images to it or remove it")


def _set_loose_apart(place: Folder, draft: _Draft) -> None:
    """Take images beside the folders for unlabelled."""
    _must_have_no_links(place, draft)
    draft.unlabelled += place.images
    if place.images and place.folders:
        where = f"{draft.called(place)} itself"
        draft.notes.append(_without_label(len(place.images), where, "beside the class folders"))


def _must_have_no_links(place: Folder, draft: _Draft) -> None:
    """Refuse links where folders of splits or classes are expected."""
    if place.links:
        raise UserError(
            f"{draft.called(place)}/{printable(place.links[0])} is a link to a folder, which is not followed: put the "
            "folder itself there, or write 'follow_links: true' under 'data'"
        )


def _without_label(count: int, where: str, why: str) -> str:
    return (
        f"{counted(count, 'images')} in {where} {have(count)} no label ({why}): not trained on, scored by the champion "
        "at the end"
    )
