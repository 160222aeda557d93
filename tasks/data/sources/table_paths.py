"""Which file on the disk each path of a table means, and which images the table doesn't list."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from tasks.data.sources.file_kinds import IMAGE, file_kind
from tasks.data.sources.file_names import path_problem, shortest
from tasks.data.sources.grouping import grouped
from tasks.data.sources.label_spelling import quoted, stripped
from tasks.data.sources.listing import PassedOver
from tasks.errors import NOTED, UserError, listed
from tasks.wording import counted

UNLISTED, ONE_UNLISTED = "images that the table doesn't list", "image that the table doesn't list"
# What was done to paths, as a note says it of so many of them.
TIDIED = "stripped of blanks or quotes"
TURNED = "turned to forward slashes"
RELATIVE = "made relative to the folder of the table"
SPELT = "found under another Unicode form or case"
BESIDE = "found in a folder beside the table"
STEM = "found by adding a suffix"


@dataclass(frozen=True)
class MatchedPaths:
    """What the paths of a table mean.

    Attributes:
        paths: one for each of the table's, relative to its folder; one that means no file is left as it is.
        notes: how many were read in another way than they are written.
    """

    paths: list[str]
    notes: list[str] = field(default_factory=list)


def match_paths(root: Path, paths: Sequence[str], numbers: Sequence[int], table: Path) -> MatchedPaths:
    """Find the files that paths mean.

    Args:
        root: the folder of the table.
        paths: as they are written.
        numbers: of their rows.
        table: what they stand in; a folder of images named like it is preferred.

    Raises:
        UserError: a name without folder or suffix fits several files.
    """
    index = FileIndex(root, paths, table.stem)
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    matched = []
    for path, number in zip(paths, numbers, strict=True):
        candidates, changes = index.match(path)
        if len(candidates) > 1:
            raise UserError(
                f"{table}: row {number}: the path {path!a} may be {listed(candidates, NOTED)}: write which one it is"
            )
        (name,) = candidates
        matched.append(name)
        for change in changes:
            counts[change] += 1
            examples.setdefault(change, f"{quoted(path)} is {quoted(name)}")
    notes = [
        f"{counted(count, 'paths')} {'was' if count == 1 else 'were'} {change}, such as {examples[change]} "
        f"({table.name})"
        for change, count in counts.items()
    ]
    return MatchedPaths(matched, notes)


def unlisted_images(root: Path, paths: Iterable[str]) -> list[PassedOver]:
    """Return the images below a folder that are not among some paths.

    In a folder that is a repository, only the folders are looked through that hold one of the paths.
    """
    known = {unicodedata.normalize("NFC", path) for path in paths}
    tops = {PurePosixPath(path).parts[0] for path in known if path}
    names = _below(root, tops if any((root / name).exists() for name in (".git", ".dvc")) else None)
    unlisted = sorted(
        name for name in names if _is_image(name) and unicodedata.normalize("NFC", name) not in known and _is_text(name)
    )
    return [PassedOver(name, UNLISTED) for name in unlisted]


def notes_on_unlisted(unlisted: Sequence[PassedOver]) -> list[str]:
    """Return a sentence with the first of the images that a table doesn't list, if there are such."""
    count = counted(len(unlisted), UNLISTED, ONE_UNLISTED)
    return [f"passed over {count}: {listed([file.path for file in unlisted], NOTED)}"] if unlisted else []


class FileIndex:
    """The files below a folder, by the ways a table may name them.

    Args:
        root: the folder.
        paths: all that a table names.
        preferred: what folders of images are named like, if there are such.
    """

    def __init__(self, root: Path, paths: Sequence[str], preferred: str) -> None:
        self._root, self._paths, self._preferred = root, paths, preferred.casefold()
        self._tops = [root.absolute().as_posix(), root.resolve().as_posix()]

    def match(self, path: str) -> tuple[list[str], list[str]]:
        """Return the file that a path means, or several that it may mean, and what was done to the path.

        A path that means no file is only tidied.
        """
        if self._is_there(path):
            return [shortest(path)], []
        tidy = stripped(path)
        tidied = [TIDIED] if tidy != path else []
        turned, changes = self._turned(tidy)
        spellings = ((tidy, tidied), (turned, [*tidied, *changes]))
        for name, done in spellings:
            if self._is_there(name):
                return [shortest(name)], done
        for name, done in spellings:
            if not path_problem(name):
                files, how = self._similar(_form(shortest(name)))
                if files:
                    return _nearest(files, name), [*done, *how]
        if RELATIVE in changes:
            return [shortest(turned)], [*tidied, *changes]
        return [shortest(tidy) if tidy else ""], tidied

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
        if files := self._forms.equal(form):
            return files, [SPELT]
        if files := self._stems.equal(form):
            return files, [STEM]
        for index, how in ((self._forms, [BESIDE]), (self._stems, [BESIDE, STEM])):
            files = [name for name in index.below(form) if _is_image(name)] if self._looks_beside else []
            if files:
                return [name for name in files if self._is_preferred(name)] or files, how
        return [], []

    @cached_property
    def _looks_beside(self) -> bool:
        """Whether paths may be relative to another folder than the table's: none of them is right as it is."""
        return not any(self._is_there(stripped(path)) for path in self._paths)

    def _is_preferred(self, name: str) -> bool:
        folder = PurePosixPath(name).parts[0].casefold()
        return folder == self._preferred or folder.startswith((f"{self._preferred}_", f"{self._preferred}-"))

    def _is_there(self, path: str) -> bool:
        if path in self._known:
            return True
        try:
            return not path_problem(path) and (self._root / path).is_file()
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
        return _Index(self._names, _form)

    @cached_property
    def _stems(self) -> "_Index":
        images = [name for name in self._names if _is_image(name)]
        return _Index(images, lambda name: _form(name).rpartition(".")[0])


class _Index:
    """Files by a form of their names."""

    def __init__(self, names: Iterable[str], form: Callable[[str], str]) -> None:
        self._by_form = grouped(names, form)
        self._by_last_part = grouped(self._by_form, lambda form: form.rpartition("/")[2])

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


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _is_image(name: str) -> bool:
    return file_kind(name) == IMAGE


def _is_text(name: str) -> bool:
    """Return whether a name is Unicode: others can't stand in a table."""
    return name.isprintable() or not any("\ud800" <= character <= "\udfff" for character in name)
