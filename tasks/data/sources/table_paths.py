"""Which file on the disk each path of a table means, and which images no path means."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from tasks.data.sources.file_kinds import IMAGE, file_kind
from tasks.data.sources.label_spelling import bare, quoted
from tasks.data.sources.listing import PassedOver, escape, plain
from tasks.errors import NOTED, UserError, listed

UNLISTED = "images that the table doesn't list"
# What was done to paths, as a note says it of so many of them.
TIDIED = "stripped of blanks or quotes"
TURNED = "turned to forward slashes"
RELATIVE = "made relative to the folder of the table"
SPELT = "found under another Unicode form or case"
BESIDE = "found in a folder beside the table"
STEM = "found by adding a suffix"


@dataclass(frozen=True)
class Placed:
    """What the paths of a table mean.

    Attributes:
        paths: one for each of the table's, relative to its folder; one that means no file is left as it is.
        notes: how many were read in another way than they are written.
    """

    paths: list[str]
    notes: list[str] = field(default_factory=list)


def place(root: Path, paths: Sequence[str], numbers: Sequence[int], table: Path) -> Placed:
    """Find the files that paths mean.

    Args:
        root: the folder of the table.
        paths: as they are written.
        numbers: of their rows.
        table: what they stand in; a folder of images named like it is preferred.

    Raises:
        UserError: a name without folder or suffix fits several files.
    """
    disk = Disk(root, paths, table.stem)
    done: Counter[str] = Counter()
    first: dict[str, str] = {}
    found = []
    for path, number in zip(paths, numbers, strict=True):
        name, how = disk.find(path)
        if len(name) > 1:
            raise UserError(
                f"{table}: row {number}: the path {path!a} may be {listed(name, NOTED)}: write which one it is"
            )
        found.append(name[0])
        for what in how:
            done[what] += 1
            first.setdefault(what, f"{quoted(path)} is {quoted(name[0])}")
    return Placed(found, [f"{_paths(done[how])} {how}, such as {first[how]} ({table.name})" for how in done])


def unlisted(root: Path, paths: Iterable[str]) -> tuple[list[PassedOver], list[str]]:
    """Return the images below a folder that are not among some paths, and a note with the first of them.

    In a folder that is a repository, only the folders are looked through that hold one of the paths.
    """
    known = {unicodedata.normalize("NFC", path) for path in paths}
    tops = {PurePosixPath(path).parts[0] for path in known if path}
    names = _below(root, tops if any((root / name).exists() for name in (".git", ".dvc")) else None)
    others = sorted(
        name for name in names if _is_image(name) and unicodedata.normalize("NFC", name) not in known and _is_text(name)
    )
    if not others:
        return [], []
    what = f"{len(others)} {UNLISTED}" if len(others) > 1 else "1 image that the table doesn't list"
    note = f"passed over {what}: {listed(others, NOTED)}"
    return [PassedOver(name, UNLISTED) for name in others], [note]


class Disk:
    """The files below a folder, by the ways a table may name them.

    Args:
        root: the folder.
        paths: all that a table names.
        preferred: what folders of images are named like, if there are such.
    """

    def __init__(self, root: Path, paths: Sequence[str], preferred: str) -> None:
        self._root, self._paths, self._preferred = root, paths, preferred.casefold()
        self._tops = [root.absolute().as_posix(), root.resolve().as_posix()]

    def find(self, path: str) -> tuple[list[str], list[str]]:
        """Return the file that a path means, or several that it may mean, and what was done to the path.

        A path that means no file is only tidied.
        """
        if self._is_there(path):
            return [plain(path)], []
        tidy = bare(path)
        done = [TIDIED] if tidy != path else []
        turned, how = self._turned(tidy)
        for name, own in ((tidy, done), (turned, [*done, *how])):
            if self._is_there(name):
                return [plain(name)], own
        for name, own in ((tidy, done), (turned, [*done, *how])):
            if not escape(name):
                found, more = self._similar(_form(plain(name)))
                if found:
                    return _nearest(found, name), [*own, *more]
        if RELATIVE in how:
            return [plain(turned)], [*done, *how]
        return [plain(tidy) if tidy else ""], done

    def _turned(self, path: str) -> tuple[str, list[str]]:
        """Return a path with forward slashes, and relative if it lies in the folder."""
        done = []
        if "\\" in path:
            path, done = path.replace("\\", "/"), [TURNED]
        for top in self._tops:
            if path.startswith("/") and PurePosixPath(path).is_relative_to(top):
                return PurePosixPath(path).relative_to(top).as_posix(), [*done, RELATIVE]
        return path, done

    def _similar(self, form: str) -> tuple[list[str], list[str]]:
        """Return the files that are called so but for case, suffix or the folders above them, the likeliest alone."""
        if found := self._forms.equal(form):
            return found, [SPELT]
        if found := self._stems.equal(form):
            return found, [STEM]
        for index, how in ((self._forms, [BESIDE]), (self._stems, [BESIDE, STEM])):
            found = [name for name in index.below(form) if _is_image(name)] if self._looks_beside else []
            if found:
                return [name for name in found if self._is_preferred(name)] or found, how
        return [], []

    @cached_property
    def _looks_beside(self) -> bool:
        """Whether paths may be relative to another folder than the table's: none of them is right as it is."""
        return not any(self._is_there(bare(path)) for path in self._paths)

    def _is_preferred(self, name: str) -> bool:
        folder = PurePosixPath(name).parts[0].casefold()
        return folder == self._preferred or folder.startswith((f"{self._preferred}_", f"{self._preferred}-"))

    def _is_there(self, path: str) -> bool:
        if path in self._known:
            return True
        try:
            return not escape(path) and (self._root / path).is_file()
        except OSError:  # such as a name that is too long
            return False

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._names)

    @cached_property
    def _names(self) -> list[str]:
        return sorted(name for name in _below(self._root, None) if _is_text(name))

    @cached_property
    def _forms(self) -> "_Index":
        return _Index((_form(name), name) for name in self._names)

    @cached_property
    def _stems(self) -> "_Index":
        return _Index((_form(name).rpartition(".")[0], name) for name in self._names if _is_image(name))


class _Index:
    """Files by a form of their names."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._by_form = _grouped(pairs)
        self._by_last_part = _grouped((form.rpartition("/")[2], form) for form in self._by_form)

    def equal(self, form: str) -> list[str]:
        """Return the files of a form."""
        return self._by_form.get(form, [])

    def below(self, form: str) -> list[str]:
        """Return the files of a form in any folder."""
        ends = self._by_last_part.get(form.rpartition("/")[2], [])
        return [name for end in ends if end.endswith(f"/{form}") for name in self._by_form[end]]


def _nearest(names: list[str], path: str) -> list[str]:
    """Return, of files whose names differ in case, the one that differs in its Unicode form alone."""
    return [name for name in names if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", path)] or names


def _below(root: Path, tops: set[str] | None) -> Iterator[str]:
    """Yield the files below a folder, or below some of the folders in it, without hidden ones."""
    for parent, folders, names in os.walk(root):
        here = Path(parent).relative_to(root)
        folders[:] = [name for name in folders if not name.startswith(".")]
        if tops is not None and not here.parts:
            folders[:] = [name for name in folders if unicodedata.normalize("NFC", name) in tops]
        for name in names:
            if not name.startswith("."):
                yield (here / name).as_posix()


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, name in pairs:
        groups.setdefault(key, []).append(name)
    return groups


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _is_image(name: str) -> bool:
    return file_kind(name) == IMAGE


def _is_text(name: str) -> bool:
    """Return whether a name is Unicode: others can't stand in a table."""
    return name.isprintable() or not any("\ud800" <= character <= "\udfff" for character in name)


def _paths(count: int) -> str:
    return "1 path was" if count == 1 else f"{count} paths were"
