"""Which files are used, in which split, and why the others aren't."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from tasks.data import folds, manifest, near_duplicates, remarks, splits
from tasks.data.ingest import Ingested
from tasks.data.manifest import Earlier
from tasks.data.near_duplicates import Alike
from tasks.data.small_splits import rough
from tasks.data.sources import LabelledFile
from tasks.data.split_completion import SMALLEST
from tasks.errors import NOTED, UserError
from tasks.params import DataParams, SplitParams

TEXT = ("path", "label", "split", "group", "subset", "mode", "format", "sha256", "kind", "reason")
CONTRADICTED, BRIDGE, LEAK = "contradicted", "between splits", "leak"
NOTHING_EARLIER = Earlier()
TRIES = 3  # the number of folds follows from what isn't tested on, and that, in classes of four, from there being folds

Reasons = dict[int, tuple[str, str]]  # place of an image: the kind of its problem, and the reason


@dataclass(frozen=True)
class Curated:
    """What became of the files.

    Attributes:
        table: the manifest; ``row`` is an image's row in the store.
        quarantine: what is not used.
        leaks: images that show the same, or are of one group, and lie in different splits as the source has it.
        notes: what a person should know.
        cautions: those of the notes that hold for as long as the images do.
    """

    table: pd.DataFrame
    quarantine: pd.DataFrame
    leaks: pd.DataFrame
    notes: list[str]
    cautions: list[str]


def curate(
    files: Sequence[LabelledFile],
    ingested: Ingested,
    data: DataParams,
    split: SplitParams,
    earlier: Earlier = NOTHING_EARLIER,
) -> Curated:
    """Sort files into the manifest and the quarantine, and images into splits.

    Args:
        files: what the source lists.
        ingested: what was seen of them, in the same order.
        data: how many unusable files are tolerated.
        split: shares, seed, folds, and what counts as alike.
        earlier: where images were before, which they keep.

    Raises:
        UserError: more files than ``data.max_unreadable`` allows can't be used, or a split is not fit for use.
    """
    seen = _with_contradictions(_seen(files, ingested))
    unusable = seen[seen["reason"] != ""]
    _tolerate(unusable, len(seen), data)
    images = seen[seen["reason"] == ""].reset_index(drop=True)
    classes = pd.factorize(images["label"], sort=True)[0]
    alike = near_duplicates.alike(ingested.thumbnails[images["row"]], split.near_duplicates, classes)
    assigned, divisions = _assigned(images, alike, split, earlier)
    images["split"] = assigned.splits
    if divisions:
        images["fold"] = folds.divide(images, assigned, divisions, split.seed, earlier.folds_of(divisions))
        held_out = images["split"].isin(["test", ""])
        images["split"] = images["split"].where(held_out, "train").mask(images["fold"] == (split.fold or 0), "val")
    leaks = _leaks(images, alike)
    dropped: Reasons = {place: (BRIDGE, reason) for place, reason in assigned.left_out.items()}
    if split.repair:
        dropped |= _repairs(images, leaks)
    linked = splits.link(images.drop(index=list(dropped)), alike.pairs)
    images["group"] = _group_names(images, splits.components(len(images), linked))
    for place, (kind, reason) in dropped.items():
        images.loc[place, ["kind", "reason"]] = [kind, reason]
    table = images.drop(index=list(dropped)).reset_index(drop=True)
    quarantine = pd.concat([unusable, images.loc[list(dropped)]]).sort_values("path", ignore_index=True)
    leaks = leaks.sort_values(["alike", "path", "twin"], ascending=[False, True, True])
    leaks = leaks[leaks["path"].isin(table["path"]) & leaks["twin"].isin(table["path"])].reset_index(drop=True)
    rounds = divisions if split.fold is None else 0
    cautions = [*splits.check(table["label"], table["split"]), *rough(table, rounds)]
    if rounds and split.folds == "auto":
        cautions.insert(0, folds.said(rounds))
    notes = [
        *_notes(table, quarantine, leaks, assigned),
        *remarks.on_scenes(images["path"].tolist(), alike.scenes),
        *remarks.on_groups(table, split.near_duplicates),
        *([] if images["given"].any() else remarks.on_shares(table["split"], split, divided=bool(divisions))),
        *cautions,
    ]
    table.attrs |= {"split": manifest.drawn_by(split), "upright": data.is_upright}  # on which training depends
    if rounds:
        table.attrs |= {manifest.FOLDS: rounds}
    return Curated(
        _typed(table[list(manifest.MANIFEST.columns)]),
        _typed(quarantine[list(manifest.QUARANTINE.columns)]),
        _typed(leaks),
        notes,
        cautions,
    )


def _seen(files: Sequence[LabelledFile], ingested: Ingested) -> pd.DataFrame:
    facts = pd.DataFrame([asdict(image) for image in ingested.images])
    listed = pd.DataFrame([asdict(file) for file in files])
    table = pd.concat([listed.rename(columns={"split": "given"}), facts], axis=1)
    table = table.rename(columns={"size": "bytes", "problem": "reason"})
    return table.assign(row=range(len(table)), fold=folds.NO_FOLD)


def _assigned(images: pd.DataFrame, alike: Alike, split: SplitParams, earlier: Earlier) -> tuple[splits.Assigned, int]:
    """Return the split of every image, and into how many folds what isn't tested on is to be divided."""
    divisions = split.divisions
    assigned = splits.assign(images, alike.pairs, split, earlier.splits, earlier.folds_of(divisions))
    for _ in range(TRIES):
        fitting = folds.number_of_folds(images, assigned, split)
        if fitting == divisions:
            break
        divisions, folded = fitting, split.model_copy(update={"folds": fitting or False})
        assigned = splits.assign(images, alike.pairs, folded, earlier.splits, earlier.folds_of(divisions))
    return assigned, divisions


def _with_contradictions(table: pd.DataFrame) -> pd.DataFrame:
    """Mark files whose label a byte-identical file contradicts, all of them: nobody knows which is right."""
    usable = table[table["reason"] == ""]
    labels = usable.groupby("sha256")["label"].transform("nunique")
    for _, twins in usable[labels > 1].groupby("sha256"):
        for place, own in twins.iterrows():
            other = twins[twins["label"] != own["label"]].iloc[0]
            reason = f"has the very content of {other['path']}, which is labelled '{other['label']}'"
            table.loc[place, ["kind", "reason"]] = [CONTRADICTED, reason]
    return table


def _tolerate(unusable: pd.DataFrame, count: int, data: DataParams) -> None:
    if len(unusable) > data.max_unreadable * count:
        first = unusable.iloc[0]
        raise UserError(
            f"{len(unusable)} of {count} files in {data.path} can't be used, more than data.max_unreadable "
            f"({data.max_unreadable:.0%}) allows; the first is {first['path']} ({first['reason']})"
        )


def _leaks(images: pd.DataFrame, alike: Alike) -> pd.DataFrame:
    """Return the pairs that show the same, or are of one group of the source, and lie in different splits."""
    same, grouped = _across(images, "sha256"), _across(images, "group")
    pairs = np.sort(np.concatenate([alike.pairs, same, grouped]), axis=1)
    values = np.concatenate([alike.values, np.ones(len(same)), np.ones(len(grouped))])
    one, two = (images.loc[pairs[:, side], ["path", "split"]].reset_index(drop=True) for side in (0, 1))
    found = pd.concat([one, two.set_axis(["twin", "twin_split"], axis=1)], axis=1).assign(alike=values)
    apart = (found["split"] != found["twin_split"]) & (found["split"] != "") & (found["twin_split"] != "")
    return found[apart].drop_duplicates(["path", "twin"]).reset_index(drop=True)


def _across(images: pd.DataFrame, column: str) -> splits.Pairs:
    """Return, of images with the same value in different splits, each with the first of every other split."""
    named = images[images[column].duplicated(keep=False) & (images[column] != "")]
    pairs = []
    for _, members in named.groupby(column):
        first = members.groupby("split").head(1)
        for place, split in zip(members.index, members["split"], strict=True):
            pairs += [(place, int(other)) for other in first.index[first["split"] != split]]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _repairs(images: pd.DataFrame, leaks: pd.DataFrame) -> Reasons:
    """Return what to leave out so that nothing leaks: of each pair the image whose split comes first in ``SPLITS``."""
    places = pd.Series(images.index, index=images["path"])
    dropped: Reasons = {}
    for path, its_split, twin, twin_split in leaks[["path", "split", "twin", "twin_split"]].astype(str).to_numpy():
        sides = [(path, its_split), (twin, twin_split)]
        (loser, _), (winner, split) = sorted(sides, key=lambda side: splits.SPLITS.index(side[1]))
        reason = f"shows the same, or is of the same group, as {winner} in the {split} split"
        dropped[int(places[loser])] = (LEAK, reason)
    return dropped


def _group_names(images: pd.DataFrame, groups: splits.Numbers) -> list[str]:
    """Return the source's name of a group, or one made of the least digest in it; nothing for a single image."""
    numbers = pd.Series(groups, index=images.index)
    sizes = numbers.groupby(numbers).transform("size")
    named = images["group"].where(images["group"] != "").groupby(numbers).transform("min")
    made = remarks.MADE + images["sha256"].groupby(numbers).transform("min").str[:12]
    return named.fillna(made.where(sizes > 1, "")).tolist()


def _notes(table: pd.DataFrame, quarantine: pd.DataFrame, leaks: pd.DataFrame, assigned: splits.Assigned) -> list[str]:
    notes = [f"left out {row.path}: {row.reason}" for row in quarantine.head(NOTED).itertuples()]
    if len(quarantine) > NOTED:
        counts = ", ".join(f"{count} {kind}" for kind, count in Counter(quarantine["kind"]).most_common())
        notes.append(f"left out {len(quarantine)} files in all ({counts}): see data/quarantine.parquet")
    joined = table[table["group"] != ""]
    if len(joined) and leaks.empty:
        notes.append(f"{len(joined)} images are in {joined['group'].nunique()} groups, none of which crosses a split")
    if len(leaks):
        first = leaks.iloc[0]
        notes.append(
            f"the given splits leak: {len(leaks)} pairs of images show the same or are of one group, such as "
            f"{first['path']} ({first['split']}) and {first['twin']} ({first['twin_split']}): see data/leaks.parquet, "
            "or set split.repair: true"
        )
    if assigned.moved:
        notes.append(
            f"{len(assigned.moved)} images moved to another split, to be with those they belong to, or to be trained on"
        )
    if assigned.small:
        notes.append(
            f"{splits.counted_classes(assigned.small)} fewer than {SMALLEST} independent images: all are "
            f"trained on, and nothing is claimed about {'it' if len(assigned.small) == 1 else 'them'}"
        )
    return notes


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({name: "str" for name in TEXT if name in table}).astype(
        {name: "float64" for name in ("weight", "alike") if name in table}
    )
