"""Sentences on what became of the images: left out, cut, grouped, leaking, or far from the share that was asked for."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tasks.arrays import Integers
from tasks.data.image_facts import ImageFacts
from tasks.data.scenes import NO_SCENE
from tasks.data.split_completion import SMALLEST
from tasks.data.splits import Assignment, counted_classes
from tasks.errors import NOTED
from tasks.params import SplitParams
from tasks.wording import counted, have

MADE = "alike-"  # what names of groups begin with that the source did not give
LARGE = 0.2  # share of the images in one group that is said
FAR_OFF = 1 / 3  # of the share that was asked for
EXTRAS = ("MPO",)  # formats whose further frames are previews and depths of the first


def on_frames(paths: Sequence[str], images: Sequence[ImageFacts]) -> list[str]:
    """Return that files have more in them than is read: pages, frames, or bits."""
    usable = [(path, image) for path, image in zip(paths, images, strict=True) if not image.problem]
    notes = []
    several = [(path, image.frames) for path, image in usable if image.frames > 1 and image.format not in EXTRAS]
    if several:
        some = ", ".join(f"{path} ({frames})" for path, frames in several[:NOTED])
        notes.append(
            f"{_files_have(len(several))} more pages or frames than the first, such as {some}: only the first is read; "
            "to use others, write each as a file of its own, and give those of one file the same 'group'"
        )
    halved = [path for path, image in usable if image.halved]
    if halved:
        notes.append(
            f"{_files_have(len(halved))} 16 bits a colour, such as {halved[0]}: only the upper 8 are read, of which "
            "dark images keep little; to use all, write them in 8 bits, scaled as you need, or as 16-bit grey"
        )
    return notes


def on_quarantine(quarantine: pd.DataFrame) -> list[str]:
    """Return which files are left out and why: the first ones, and how many there are of each kind."""
    notes = [f"left out {row.path}: {row.reason}" for row in quarantine.head(NOTED).itertuples()]
    if len(quarantine) > NOTED:
        counts = ", ".join(f"{count} {kind}" for kind, count in Counter(quarantine["kind"]).most_common())
        notes.append(f"left out {len(quarantine)} files in all ({counts}): see data/quarantine.parquet")
    return notes


def on_leaks(table: pd.DataFrame, leaks: pd.DataFrame) -> list[str]:
    """Return whether groups of a manifest cross its splits."""
    if len(leaks):
        first = leaks.iloc[0]
        return [
            f"the given splits leak: {len(leaks)} pairs of images show the same or are of one group, such as "
            f"{first['path']} ({first['split']}) and {first['twin']} ({first['twin_split']}): see data/leaks.parquet, "
            "or set split.repair: true"
        ]
    grouped = table[table["group"] != ""]
    if grouped.empty:
        return []
    return [f"{len(grouped)} images are in {grouped['group'].nunique()} groups, none of which crosses a split"]


def on_assignment(assigned: Assignment) -> list[str]:
    """Return which images moved to another split, and which classes are trained on alone."""
    notes = []
    if assigned.moved:
        notes.append(
            f"{len(assigned.moved)} images moved to another split, to be with those they belong to, or to be trained on"
        )
    if assigned.small:
        notes.append(
            f"{counted_classes(assigned.small)} fewer than {SMALLEST} independent images: all are "
            f"trained on, and nothing is claimed about {'it' if len(assigned.small) == 1 else 'them'}"
        )
    return notes


def on_scenes(paths: Sequence[str], scenes: Integers) -> list[str]:
    """Return a sentence for each scene that images are shots of, the largest first."""
    numbers = np.unique(scenes[scenes != NO_SCENE]).tolist()
    shots = [
        [path for path, scene in zip(paths, scenes.tolist(), strict=True) if scene == number] for number in numbers
    ]
    shots.sort(key=len, reverse=True)
    notes = [
        f"{len(shown)} of {len(paths)} images are shots of one scene, such as {shown[0]} and {shown[-1]}: two of them "
        "are joined only if what differs from the scene is the same, too; say by a column 'group' what else belongs "
        "together"
        for shown in shots[:NOTED]
    ]
    rest = sum(map(len, shots[NOTED:]))
    return [*notes, *([f"{rest} more images are shots of {len(shots) - NOTED} other scenes"] if rest else [])]


def on_groups(table: pd.DataFrame, threshold: float | bool) -> list[str]:
    """Return what is odd about the groups of a manifest: those that hold many images, and those that mix classes."""
    sizes = table["group"].where(table["group"] != "").value_counts()
    mixes = table.groupby("group")["label"].nunique() > 1
    large = [str(name) for name in sizes.index[sizes > LARGE * len(table)]]
    mixed = [str(name) for name in sizes.index if str(name).startswith(MADE) and mixes[name]]
    notes = [f"the group {_describe(name, table)} holds {sizes[name] / len(table):.0%} of the images" for name in large]
    if mixed:
        count, verb = ("a group", "mixes") if len(mixed) == 1 else (f"{len(mixed)} groups", "mix")
        notes.append(
            f"{count} of images that show the same {verb} classes, the largest is {_describe(mixed[0], table)}"
        )
    if mixed or any(name.startswith(MADE) for name in large):
        notes.append(
            f"split.near_duplicates ({threshold}) decides what shows the same: raise it if these groups don't; 'false' "
            "compares contents alone; the report has pictures of them"
        )
    return notes


def on_shares(splits: pd.Series, asked: SplitParams, *, divided: bool = False) -> list[str]:
    """Return which drawn split is far from the share that was asked for; ``divided``: into folds, which have none."""
    shares = {"test": asked.test} | ({} if divided else {"val": asked.validation})
    counts = splits.value_counts()
    notes = []
    for split, share in shares.items():
        count, wanted = int(counts.get(split, 0)), share * len(splits)
        if abs(count - wanted) > max(FAR_OFF * wanted, 1):
            notes.append(
                f"the {split} split has {count} of {len(splits)} images ({count / len(splits):.0%}), where {share:.0%} "
                "was asked for: images are drawn by their content, groups whole; another split.seed draws others"
            )
    return notes


def _describe(name: str, table: pd.DataFrame) -> str:
    """Return the name of a group, its size, its classes and two of its files, of two classes if it has two."""
    members = table[table["group"] == name]
    counts = members["label"].value_counts()
    classes = ", ".join(f"{count} {label}" for label, count in counts.head(NOTED).items())
    more = f" and {len(counts) - NOTED} more classes" if len(counts) > NOTED else ""
    by_turns = members["path"].iloc[members.groupby("label").cumcount().argsort(kind="stable")].tolist()
    return f"'{name}' ({len(members)} images: {classes}{more}; such as {' and '.join(by_turns[:2])})"


def _files_have(count: int) -> str:
    return f"{counted(count, 'files')} {have(count)}"
