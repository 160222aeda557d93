"""What a person should hear of groups, scenes and shares before believing a split."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tasks.data.reading import ReadImage
from tasks.data.scenes import NONE, Numbers
from tasks.errors import NOTED
from tasks.params import SplitParams

MADE = "alike-"  # what names of groups begin with that the source did not give
LARGE = 0.2  # share of the images in one group that is said
FAR_OFF = 1 / 3  # of the share that was asked for
EXTRAS = ("MPO",)  # formats whose further frames are previews and depths of the first


def on_frames(paths: Sequence[str], images: Sequence[ReadImage]) -> list[str]:
    """Return that files have more in them than is read: pages, frames, or bits."""
    seen = [(path, image) for path, image in zip(paths, images, strict=True) if not image.problem]
    notes = []
    several = [(path, image.frames) for path, image in seen if image.frames > 1 and image.format not in EXTRAS]
    if several:
        some = ", ".join(f"{path} ({frames})" for path, frames in several[:NOTED])
        notes.append(
            f"{_files(several)} more pages or frames than the first, such as {some}: only the first is read; "
            "to use others, write each as a file of its own, and give those of one file the same 'group'"
        )
    halved = [path for path, image in seen if image.halved]
    if halved:
        notes.append(
            f"{_files(halved)} 16 bits a colour, such as {halved[0]}: only the upper 8 are read, of which dark "
            "images keep little; to use all, write them in 8 bits, scaled as you need, or as 16-bit grey"
        )
    return notes


def on_scenes(paths: Sequence[str], scenes: Numbers) -> list[str]:
    """Return a sentence for each scene that images are shots of, the largest first."""
    numbers = np.unique(scenes[scenes != NONE]).tolist()
    found = [[path for path, own in zip(paths, scenes.tolist(), strict=True) if own == number] for number in numbers]
    found.sort(key=len, reverse=True)
    notes = [
        f"{len(shown)} of {len(paths)} images are shots of one scene, such as {shown[0]} and {shown[-1]}: two of them "
        "are joined only if what differs from the scene is the same, too; say by a column 'group' what else belongs "
        "together"
        for shown in found[:NOTED]
    ]
    rest = sum(map(len, found[NOTED:]))
    return [*notes, *([f"{rest} more images are shots of {len(found) - NOTED} other scenes"] if rest else [])]


def on_groups(table: pd.DataFrame, threshold: float | bool) -> list[str]:
    """Return what is odd about the groups of a manifest: those that hold many images, and those that mix classes."""
    sizes = table["group"].where(table["group"] != "").value_counts()
    mixes = table.groupby("group")["label"].nunique() > 1
    large = [str(name) for name in sizes.index[sizes > LARGE * len(table)]]
    mixed = [str(name) for name in sizes.index if str(name).startswith(MADE) and mixes[name]]
    notes = [f"the group {_told(name, table)} holds {sizes[name] / len(table):.0%} of the images" for name in large]
    if mixed:
        count, verb = ("a group", "mixes") if len(mixed) == 1 else (f"{len(mixed)} groups", "mix")
        notes.append(f"{count} of images that show the same {verb} classes, the largest is {_told(mixed[0], table)}")
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


def _told(name: str, table: pd.DataFrame) -> str:
    """Return the name of a group, its size, its classes and two of its files, of two classes if it has two."""
    members = table[table["group"] == name]
    counts = members["label"].value_counts()
    classes = ", ".join(f"{count} {label}" for label, count in counts.head(NOTED).items())
    more = f" and {len(counts) - NOTED} more classes" if len(counts) > NOTED else ""
    by_turns = members["path"].iloc[members.groupby("label").cumcount().argsort(kind="stable")].tolist()
    return f"'{name}' ({len(members)} images: {classes}{more}; such as {' and '.join(by_turns[:2])})"


def _files(found: Sequence[object]) -> str:
    return "1 file has" if len(found) == 1 else f"{len(found)} files have"
