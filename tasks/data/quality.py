"""What a person should know of a data set before believing anything that was trained on it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd
from pydantic import Field

from tasks.data.sources import PassedOver
from tasks.data.splits import SPLITS
from tasks.record import Record

SHOWN = 20  # pairs, groups and files that are named; the tables beside it have all


class Span(Record):
    """The least, the median and the largest of a number over all images."""

    least: int
    median: int
    largest: int


class Group(Record):
    """Images that show the same, or that the source says belong together."""

    name: str
    split: str
    images: int
    classes: dict[str, int] = Field(description="images of each class, the most frequent first")
    paths: list[str] = Field(description="some of them, of each class by turns")


class Leak(Record):
    """Two images that show the same, or are of one group, in splits that the source gave."""

    path: str
    split: str
    twin: str
    twin_split: str
    alike: float


class LeftOut(Record):
    """A file that is not used."""

    path: str
    label: str
    kind: str
    reason: str


class Passed(Record):
    """A file that is not used, though nothing is wrong with it."""

    path: str
    kind: str


class Quality(Record):
    """A data set, counted: every file is used, left out or passed over."""

    files: int
    images: int
    classes: dict[str, dict[str, int]] = Field(description="images of each class in each split")
    imbalance: float = Field(description="images of the largest class to those of the smallest")
    width: Span
    height: Span
    modes: dict[str, int]
    formats: dict[str, int]
    animated: int = Field(description="images of which only the first frame is taken")
    ranges: dict[str, tuple[float, float]] = Field(description="values that became black and white, beyond 8 bits")
    grouped: int = Field(description="images that are in a group with others")
    groups: int
    largest_groups: list[Group]
    leaks: int
    some_leaks: list[Leak]
    left_out: dict[str, int] = Field(description="files that are not used, by kind")
    some_left_out: list[LeftOut]
    passed_over: dict[str, int] = Field(description="files that are no labelled images, by kind")
    some_passed_over: list[Passed]
    notes: list[str] = Field(description="how the source was understood, and what the splits can't tell")


def describe(
    table: pd.DataFrame,
    quarantine: pd.DataFrame,
    leaks: pd.DataFrame,
    ranges: dict[str, tuple[float, float]],
    passed_over: Sequence[PassedOver] = (),
    notes: Sequence[str] = (),
) -> Quality:
    """Count a manifest, a quarantine, the leaks between given splits, and what the source passed over."""
    classes = pd.crosstab(table["label"], table["split"]).reindex(columns=list(SPLITS), fill_value=0)
    totals = classes.sum(axis=1)
    sizes = table["group"].where(table["group"] != "").value_counts()
    several = sizes[sizes > 1]
    return Quality(
        files=len(table) + len(quarantine) + len(passed_over),
        images=len(table),
        classes={str(label): {split: int(row[split]) for split in SPLITS} for label, row in classes.iterrows()},
        imbalance=float(totals.max() / totals.min()),
        width=_span(table["width"]),
        height=_span(table["height"]),
        modes=dict(Counter(table["mode"]).most_common()),
        formats=dict(Counter(table["format"]).most_common()),
        animated=int(table["animated"].sum()),
        ranges=ranges,
        grouped=int(several.sum()),
        groups=len(several),
        largest_groups=[_group(str(name), table[table["group"] == name]) for name in several.index[:SHOWN]],
        leaks=len(leaks),
        some_leaks=[Leak(**row) for row in _records(leaks)],
        left_out=dict(Counter(quarantine["kind"]).most_common()),
        some_left_out=[LeftOut(**row) for row in _records(quarantine)],
        passed_over=dict(Counter(file.kind for file in passed_over).most_common()),
        some_passed_over=[Passed(path=file.path, kind=file.kind) for file in passed_over[:SHOWN]],
        notes=list(notes),
    )


def rows(quality: Quality) -> list[dict[str, Any]]:
    """Return the figures as rows of a table: what, and how much."""
    spans = {"width": quality.width, "height": quality.height}
    facts: dict[str, Any] = {
        "files": quality.files,
        "images used": quality.images,
        **{f"left out: {kind}": count for kind, count in quality.left_out.items()},
        **{f"passed over: {kind}": count for kind, count in quality.passed_over.items()},
        **{f"class {label}": _by_split(counts) for label, counts in quality.classes.items()},
        "largest class to smallest": f"{quality.imbalance:.1f}",
        **{name: f"{span.least} to {span.largest}, median {span.median}" for name, span in spans.items()},
        **{f"mode {name}": count for name, count in quality.modes.items()},
        **{f"format {name}": count for name, count in quality.formats.items()},
        **{f"beyond 8 bits, {kind}": f"{low:g} black, {high:g} white" for kind, (low, high) in quality.ranges.items()},
        "more frames than the first, which is taken": quality.animated,
        "images in groups": f"{quality.grouped} in {quality.groups} groups",
        "pairs that leak between given splits": quality.leaks,
    }
    return [{"what": what, "how much": str(how_much)} for what, how_much in facts.items()]


def _by_split(counts: dict[str, int]) -> str:
    return f"{sum(counts.values())} ({', '.join(f'{count} {split}' for split, count in counts.items())})"


def _span(values: pd.Series) -> Span:
    return Span(least=int(values.min()), median=int(values.median()), largest=int(values.max()))


def _group(name: str, members: pd.DataFrame) -> Group:
    splits = " and ".join(sorted(set(members["split"])))
    by_turns = members["path"].iloc[members.groupby("label").cumcount().argsort(kind="stable")]
    classes = {str(label): int(count) for label, count in members["label"].value_counts().items()}
    return Group(name=name, split=splits, images=len(members), classes=classes, paths=by_turns.head(SHOWN).tolist())


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[Any] = table.head(SHOWN).to_dict("records")
    return records
