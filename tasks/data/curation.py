"""Which files are used, in which split, and why the others aren't."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from tasks.arrays import Pairs
from tasks.data import folds, leaks, manifest, quarantine, remarks, splits
from tasks.data.groups import components, linked_pairs
from tasks.data.ingest import Ingested
from tasks.data.manifest import EarlierPlaces
from tasks.data.near_duplicates import find_near_duplicates
from tasks.data.quarantine import BRIDGE, Reasons
from tasks.data.small_splits import notes_on_small_classes
from tasks.data.sources import LabelledFile
from tasks.data.splits import Assignment
from tasks.params import DataParams, SplitParams

TEXT = ("path", "label", "split", "group", "subset", "mode", "format", "sha256", "kind", "reason")
NOTHING_EARLIER = EarlierPlaces()
TRIES = 3  # the number of folds follows from what isn't tested on, and that, in classes of four, from there being folds


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
    earlier: EarlierPlaces = NOTHING_EARLIER,
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
    seen = quarantine.with_contradictions(_seen(files, ingested))
    unusable = seen[seen["reason"] != ""]
    quarantine.must_be_few(unusable, len(seen), data)
    images = seen[seen["reason"] == ""].reset_index(drop=True)
    classes = pd.factorize(images["label"], sort=True)[0]
    near = find_near_duplicates(ingested.thumbnails[images["row"]], split.near_duplicates, classes)
    assigned, divisions = _assigned(images, near.pairs, split, earlier)
    _place(images, assigned, divisions, split, earlier)
    leaking = leaks.find_leaks(images, near)
    dropped: Reasons = {place: (BRIDGE, reason) for place, reason in assigned.left_out.items()}
    if split.repair:
        dropped |= leaks.repairs(images, leaking)
    images["group"] = _group_names(images, near.pairs, dropped)
    table, unused = quarantine.set_aside(images, dropped, unusable)
    leaking = leaks.remaining(leaking, table)
    rounds = divisions if split.fold is None else 0
    cautions = _cautions(table, rounds, split)
    notes = [
        *remarks.on_quarantine(unused),
        *remarks.on_leaks(table, leaking),
        *remarks.on_assignment(assigned),
        *remarks.on_scenes(images["path"].tolist(), near.scenes),
        *remarks.on_groups(table, split.near_duplicates),
        *([] if images["given"].any() else remarks.on_shares(table["split"], split, divided=bool(divisions))),
        *cautions,
    ]
    table.attrs |= {"split": manifest.split_settings(split), "upright": data.is_upright}  # on which training depends
    if rounds:
        table.attrs |= {manifest.FOLDS: rounds}
    return Curated(
        _typed(table[list(manifest.MANIFEST.columns)]),
        _typed(unused[list(manifest.QUARANTINE.columns)]),
        _typed(leaking),
        notes,
        cautions,
    )


def _seen(files: Sequence[LabelledFile], ingested: Ingested) -> pd.DataFrame:
    """Return what the source and the ingestion say of every file, a row each; ``reason`` is empty for usable ones."""
    facts = pd.DataFrame([asdict(image) for image in ingested.images])
    listed = pd.DataFrame([asdict(file) for file in files])
    table = pd.concat([listed.rename(columns={"split": "given"}), facts], axis=1)
    table = table.rename(columns={"size": "bytes", "problem": "reason"})
    return table.assign(row=range(len(table)), fold=folds.NO_FOLD)


def _assigned(images: pd.DataFrame, pairs: Pairs, split: SplitParams, earlier: EarlierPlaces) -> tuple[Assignment, int]:
    """Return the split of every image, and into how many folds what isn't tested on is to be divided."""
    divisions = split.divisions
    assigned = splits.assign(images, pairs, split, earlier.splits, earlier.folds_of(divisions))
    for _ in range(TRIES):
        fitting = folds.number_of_folds(images, assigned, split)
        if fitting == divisions:
            break
        divisions, folded = fitting, split.model_copy(update={"folds": fitting or False})
        assigned = splits.assign(images, pairs, folded, earlier.splits, earlier.folds_of(divisions))
    return assigned, divisions


def _place(
    images: pd.DataFrame, assigned: Assignment, divisions: int, split: SplitParams, earlier: EarlierPlaces
) -> None:
    """Write the columns ``split`` and ``fold``; where there are folds, one of them is the validation split."""
    images["split"] = assigned.splits
    if divisions:
        images["fold"] = folds.divide(images, assigned, divisions, split.seed, earlier.folds_of(divisions))
        held_out = images["split"].isin(["test", ""])
        images["split"] = images["split"].where(held_out, "train").mask(images["fold"] == (split.fold or 0), "val")


def _group_names(images: pd.DataFrame, pairs: Pairs, dropped: Reasons) -> list[str]:
    """Return the source's name of a group, or one made of the least digest in it; nothing for a single image."""
    groups = components(len(images), linked_pairs(images.drop(index=list(dropped)), pairs))
    numbers = pd.Series(groups, index=images.index)
    sizes = numbers.groupby(numbers).transform("size")
    named = images["group"].where(images["group"] != "").groupby(numbers).transform("min")
    made = remarks.MADE + images["sha256"].groupby(numbers).transform("min").str[:12]
    return named.fillna(made.where(sizes > 1, "")).tolist()


def _cautions(table: pd.DataFrame, rounds: int, split: SplitParams) -> list[str]:
    """Return what the splits can't tell; ``rounds`` is the number of folds that are validated on, one by one."""
    cautions = [*splits.check(table["label"], table["split"]), *notes_on_small_classes(table, rounds)]
    if rounds and split.folds == "auto":
        return [folds.note_on_folds(rounds), *cautions]
    return cautions


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype({name: "str" for name in TEXT if name in table}).astype(
        {name: "float64" for name in ("weight", "alike") if name in table}
    )
