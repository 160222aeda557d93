"""Labels as people spell them: names that look the same, or differ in case alone, are one."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from tasks.data.sources.grouping import grouped
from tasks.data.sources.listing import LabelledFile, SourceListing
from tasks.errors import NOTED, UserError, listed
from tasks.wording import counted

LabelCase = Literal["join", "keep"]
INVISIBLE = "\u00ad\u200b\u2060\ufeff"  # soft hyphen, zero-width space, word joiner, byte order mark
MARKS = INVISIBLE + "\u180e\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
QUOTES = ('""', "''", "``", "“”", "”“", "„“", "„”", "””", "‘’", "’‘", "‚‘", "‚’", "’’", "«»", "»«", "‹›", "›‹")


def stripped(text: str) -> str:
    """Return a text without the blanks, invisible marks and pairs of quotes around it."""
    while True:
        start, end = 0, len(text)
        while start < end and _is_blank(text[start]):
            start += 1
        while end > start and _is_blank(text[end - 1]):
            end -= 1
        text = text[start:end]
        if len(text) < 2 or text[0] + text[-1] not in QUOTES or _has_more(text):
            return text
        text = text[1:-1]


@lru_cache(maxsize=1 << 16)
def clean_label(text: str) -> str:
    """Return a name as it is compared: stripped, with one space for inner blanks, in Unicode's composed form."""
    visible = "".join(character for character in stripped(text) if character not in INVISIBLE)
    return unicodedata.normalize("NFC", " ".join(visible.split()))


def casefolded(text: str) -> str:
    """Return what clean names have in common that differ in case alone."""
    return unicodedata.normalize("NFC", text.casefold())


def spelt_as(known: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return names as known ones are spelt, where exactly one of those is the same but for case, blanks and quotes."""
    spellings = grouped(dict.fromkeys(known), lambda name: casefolded(clean_label(name)))
    respelt = []
    for name in names:
        candidates = [] if name in known else spellings.get(casefolded(clean_label(name)), [])
        respelt.append(candidates[0] if len(candidates) == 1 else name)
    return respelt


def quoted(name: str) -> str:
    """Return a name in quotes, with what can't be seen written out."""
    is_plain = name.isprintable() and unicodedata.is_normalized("NFC", name)
    return f"'{name}'" if is_plain else ascii(name)


def clean_listing(listing: SourceListing, case: LabelCase) -> SourceListing:
    """Return a listing with clean labels, groups and subsets; the notes say what was joined or renamed.

    Labels and subsets that differ in case alone are joined under the commonest spelling (of equally common ones the
    first), or kept apart.

    Raises:
        UserError: a class has a name of blanks and quotes alone.
    """
    labels = _respelling([file.label for file in listing.files], "", case)
    groups = _respelling([file.group for file in listing.files], "the group ", None)
    subsets = _respelling([file.subset for file in listing.files], "the subset ", case)
    nameless = next((file for file in listing.files if not labels.spelling[file.label]), None)
    if nameless is not None:
        raise UserError(
            f"the class {nameless.label!a} of {nameless.path} in {listing.root} has a name of blanks or quotes alone: "
            "rename it"
        )
    files: list[LabelledFile] = [
        replace(
            file,
            label=labels.spelling[file.label],
            group=groups.spelling[file.group],
            subset=subsets.spelling[file.subset],
        )
        for file in listing.files
    ]
    notes = [*listing.notes, *labels.notes, *groups.notes, *subsets.notes]
    return replace(listing, files=files, notes=notes)


@dataclass(frozen=True)
class _Respelling:
    """What each name becomes, and sentences on it."""

    spelling: Mapping[str, str]
    notes: list[str]


def _respelling(names: Sequence[str], kind: str, case: LabelCase | None) -> _Respelling:
    """Return the clean spelling of each name, those that differ in case alone joined unless ``case`` is None."""
    counts = Counter(names)
    spelling = {name: clean_label(name) for name in counts}
    notes = _notes_on_cleaning(counts, spelling, kind)
    if case is None:
        return _Respelling(spelling, notes)
    clean_counts: Counter[str] = Counter()
    for name, count in counts.items():
        clean_counts[spelling[name]] += count
    variants = [names for names in grouped(clean_counts, casefolded).values() if len(names) > 1]
    if case == "keep":
        notes += _shortened([_note_kept_apart(kind, names, clean_counts) for names in variants])
        return _Respelling(spelling, notes)
    commonest = {name: max(names, key=clean_counts.__getitem__) for names in variants for name in names}
    why = "names that differ in case alone; data.label_case: keep keeps them apart"
    notes += _shortened([_note_joined(kind, names, commonest[names[0]], clean_counts, why) for names in variants])
    return _Respelling({name: commonest.get(clean, clean) for name, clean in spelling.items()}, notes)


def _notes_on_cleaning(counts: Counter[str], spelling: Mapping[str, str], kind: str) -> list[str]:
    """Say which names became one, and which were only written otherwise."""
    joined, renamed = [], []
    for clean, names in grouped(counts, spelling.__getitem__).items():
        if len(names) > 1:
            name = clean if clean in names else max(names, key=counts.__getitem__)
            why = "names that differ in blanks, quotes or Unicode form alone"
            joined.append(_note_joined(kind, names, name, counts, why))
        elif names != [clean]:
            renamed.append(f"{kind}{quoted(names[0])} ({counted(counts[names[0]], 'images')}) as '{clean}'")
    notes = _shortened(joined)
    if renamed:
        notes.append(f"blanks and quotes around names are left out, and Unicode is composed: {listed(renamed, NOTED)}")
    return notes


def _note_joined(kind: str, names: Sequence[str], name: str, counts: Counter[str], why: str) -> str:
    others = [other for other in names if other != name]
    with_counts = [f"{quoted(other)} ({counted(counts[other], 'images')})" for other in others[:1]]
    with_counts += [f"{quoted(other)} ({counts[other]})" for other in others[1:]]
    return f"joined {kind}{listed(with_counts, NOTED)} with {quoted(name)} ({counts[name]}): {why}"


def _note_kept_apart(kind: str, names: Sequence[str], counts: Counter[str]) -> str:
    with_counts = listed([f"{quoted(name)} ({counts[name]})" for name in names], NOTED)
    return f"{kind}{with_counts} differ in case alone and are kept apart: data.label_case: join joins them"


def _shortened(notes: list[str]) -> list[str]:
    more = len(notes) - NOTED
    return [*notes[:NOTED], f"and {more} more like these"] if more > 0 else notes


def _is_blank(character: str) -> bool:
    return character.isspace() or character in MARKS


def _has_more(text: str) -> bool:
    """Return whether a text in quotes has such quotes inside, too: 'a' or 'b'."""
    inside = text.strip(text[0] + text[-1])
    return text[0] in inside or text[-1] in inside
