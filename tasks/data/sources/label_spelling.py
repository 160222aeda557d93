"""Names as people type them: those that look the same, or differ in case alone, are one."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from tasks.data.sources.listing import Found, LabelledFile
from tasks.errors import NOTED, UserError, listed

LabelCase = Literal["join", "keep"]
INVISIBLE = "\u00ad\u200b\u2060\ufeff"  # soft hyphen, zero-width space, word joiner, byte order mark
MARKS = INVISIBLE + "\u180e\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
QUOTES = ('""', "''", "``", "“”", "”“", "„“", "„”", "””", "‘’", "’‘", "‚‘", "‚’", "’’", "«»", "»«", "‹›", "›‹")


def bare(text: str) -> str:
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
    """Return a name as it is compared: bare, with one space for inner blanks, in Unicode's composed form."""
    visible = "".join(character for character in bare(text) if character not in INVISIBLE)
    return unicodedata.normalize("NFC", " ".join(visible.split()))


def without_case(text: str) -> str:
    """Return what clean names have in common that differ in case alone."""
    return unicodedata.normalize("NFC", text.casefold())


def spelt_as(known: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return names as known ones are spelt, where exactly one of those is the same but for case, blanks and quotes."""
    spellings = _by(dict.fromkeys(known), lambda name: without_case(clean_label(name)))
    found = []
    for name in names:
        same = [] if name in known else spellings.get(without_case(clean_label(name)), [])
        found.append(same[0] if len(same) == 1 else name)
    return found


def quoted(name: str) -> str:
    """Return a name in quotes, with what can't be seen written out."""
    is_plain = name.isprintable() and unicodedata.is_normalized("NFC", name)
    return f"'{name}'" if is_plain else ascii(name)


def cleaned(found: Found, case: LabelCase) -> Found:
    """Return what was found under clean labels, groups and subsets; the notes say what was joined or renamed.

    Labels and subsets that differ in case alone are joined under the commonest spelling (of equally common ones the
    first), or kept apart.

    Raises:
        UserError: a class has a name of blanks and quotes alone.
    """
    labels = _names([file.label for file in found.files], "", case)
    groups = _names([file.group for file in found.files], "the group ", None)
    subsets = _names([file.subset for file in found.files], "the subset ", case)
    nameless = next((file for file in found.files if not labels.new[file.label]), None)
    if nameless is not None:
        raise UserError(
            f"the class {nameless.label!a} of {nameless.path} in {found.root} has a name of blanks or quotes alone: "
            "rename it"
        )
    files: list[LabelledFile] = [
        replace(file, label=labels.new[file.label], group=groups.new[file.group], subset=subsets.new[file.subset])
        for file in found.files
    ]
    return Found(found.root, files, found.passed_over, [*found.notes, *labels.notes, *groups.notes, *subsets.notes])


@dataclass(frozen=True)
class _Names:
    """What each name becomes, and sentences on it."""

    new: Mapping[str, str]
    notes: list[str]


def _names(given: Sequence[str], kind: str, case: LabelCase | None) -> _Names:
    counts = Counter(given)
    new = {name: clean_label(name) for name in counts}
    notes = _on_cleaning(counts, new, kind)
    if case is None:
        return _Names(new, notes)
    cleaned_counts = _summed(counts, new)
    alike = [names for names in _by(cleaned_counts, without_case).values() if len(names) > 1]
    if case == "keep":
        notes += _shortened([_kept(kind, names, cleaned_counts) for names in alike])
        return _Names(new, notes)
    spelt = {name: max(names, key=cleaned_counts.__getitem__) for names in alike for name in names}
    why = "names that differ in case alone; data.label_case: keep keeps them apart"
    notes += _shortened([_joined(kind, names, spelt[names[0]], cleaned_counts, why) for names in alike])
    return _Names({name: spelt.get(clean, clean) for name, clean in new.items()}, notes)


def _on_cleaning(counts: Counter[str], new: Mapping[str, str], kind: str) -> list[str]:
    """Say which names became one, and which were only written otherwise."""
    joined, renamed = [], []
    for clean, names in _by(counts, new.__getitem__).items():
        if len(names) > 1:
            name = clean if clean in names else max(names, key=counts.__getitem__)
            why = "names that differ in blanks, quotes or Unicode form alone"
            joined.append(_joined(kind, names, name, counts, why))
        elif names != [clean]:
            renamed.append(f"{kind}{quoted(names[0])} ({_images(counts[names[0]])}) as '{clean}'")
    notes = _shortened(joined)
    if renamed:
        notes.append(f"blanks and quotes around names are left out, and Unicode is composed: {listed(renamed, NOTED)}")
    return notes


def _joined(kind: str, names: Sequence[str], name: str, counts: Counter[str], why: str) -> str:
    others = [other for other in names if other != name]
    counted = [f"{quoted(other)} ({_images(counts[other])})" for other in others[:1]]
    counted += [f"{quoted(other)} ({counts[other]})" for other in others[1:]]
    return f"joined {kind}{listed(counted, NOTED)} with {quoted(name)} ({counts[name]}): {why}"


def _kept(kind: str, names: Sequence[str], counts: Counter[str]) -> str:
    counted = listed([f"{quoted(name)} ({counts[name]})" for name in names], NOTED)
    return f"{kind}{counted} differ in case alone and are kept apart: data.label_case: join joins them"


def _shortened(notes: list[str]) -> list[str]:
    more = len(notes) - NOTED
    return [*notes[:NOTED], f"and {more} more like these"] if more > 0 else notes


def _by(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return groups


def _summed(counts: Counter[str], new: Mapping[str, str]) -> Counter[str]:
    summed: Counter[str] = Counter()
    for name, count in counts.items():
        summed[new[name]] += count
    return summed


def _images(count: int) -> str:
    return f"{count} image" + ("" if count == 1 else "s")


def _is_blank(character: str) -> bool:
    return character.isspace() or character in MARKS


def _has_more(text: str) -> bool:
    """Return whether a text in quotes has such quotes inside, too: 'a' or 'b'."""
    inside = text.strip(text[0] + text[-1])
    return text[0] in inside or text[-1] in inside
