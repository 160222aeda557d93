"""Splits of small folders, swept: ``python -m tests.benchmarks.small_splits``.

Every number of classes and of images a class, many seeds each: how often a folder would be refused, how often a class
is missing somewhere, how far the shares are off, and how many images move when files are added to it. The splits of
this program are held against those that were drawn by content alone, and against ranks: the images of each class sorted
by their draws and cut at the shares, which is exact.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tasks.data.split_draws import position
from tasks.data.splits import SPLITS, assign, check
from tasks.errors import UserError
from tasks.params import SplitParams

CLASSES = list(range(2, 11))
IMAGES = list(range(3, 41))
ADDED = (0.01, 0.05, 0.10)  # of the files
NO_PAIRS = np.empty((0, 2), dtype=np.int64)

Splitting = Callable[[pd.DataFrame, SplitParams, dict[str, str]], list[str]]


def folder(classes: int, images: int, seed: int) -> pd.DataFrame:
    """Return so many images of each class, as the columns that they are assigned by."""
    digests = [hashlib.sha256(f"{seed} {n}".encode()).hexdigest() for n in range(classes * images)]
    labels = [f"class {n % classes}" for n in range(classes * images)]
    return pd.DataFrame({"sha256": digests, "label": labels, "given": "", "group": ""}, dtype="str")


def completed(images: pd.DataFrame, params: SplitParams, earlier: dict[str, str]) -> list[str]:
    """Split as this program does."""
    return assign(images, NO_PAIRS, params, earlier).splits


def drawn(images: pd.DataFrame, params: SplitParams, earlier: dict[str, str]) -> list[str]:
    """Split by each image's draw alone."""
    draws = [position(d, label, params.seed) for d, label in zip(images["sha256"], images["label"], strict=True)]
    cuts = [params.test, params.test + params.validation]
    splits = [("test", "val", "train")[place] for place in np.searchsorted(cuts, draws, side="right")]
    return [earlier.get(digest, split) for digest, split in zip(images["sha256"], splits, strict=True)]


def ranked(images: pd.DataFrame, params: SplitParams, earlier: dict[str, str]) -> list[str]:
    """Split each class by the ranks of its images' draws, at least one in each split."""
    keys = zip(images["sha256"], images["label"], strict=True)
    draws = pd.Series([position(digest, label, params.seed) for digest, label in keys])
    ranks = draws.groupby(images["label"]).rank() - 1
    sizes = images.groupby("label")["label"].transform("size")
    test = (params.test * sizes).round().clip(lower=1)
    val = (params.validation * sizes).round().clip(lower=1)
    splits = np.where(ranks < test, "test", np.where(ranks < test + val, "val", "train"))
    return [earlier.get(digest, str(split)) for digest, split in zip(images["sha256"], splits, strict=True)]


SPLITTINGS: dict[str, Splitting] = {"by content alone": drawn, "completed": completed, "by ranks": ranked}


def is_refused(images: pd.DataFrame, splits: list[str]) -> bool:
    """Return whether a folder would not be prepared."""
    try:
        check(images["label"], pd.Series(splits))
    except UserError:
        return True
    return False


def figures(name: str, classes: int, images: int, seeds: int, added: Sequence[float] = ADDED) -> dict[str, float]:
    """Return what a splitting does to folders of one size, over all seeds."""
    split, rows = SPLITTINGS[name], []
    for seed in range(seeds):
        params = SplitParams(seed=seed, folds=None)
        more = max(1, round(max(ADDED) * images))
        every = folder(classes, images + more, seed)
        before = every.head(classes * images)
        first = split(before, params, {})
        counts = pd.crosstab(before["label"], pd.Series(first)).reindex(columns=list(SPLITS), fill_value=0)
        row = {
            "refused": is_refused(before, first),
            "incomplete": bool((counts == 0).to_numpy().any()),
            "val_off": float((counts["val"] / images - params.validation).abs().mean()),
            "test_off": float((counts["test"] / images - params.test).abs().mean()),
        }
        for share in added:
            after = every.head(len(before) + max(1, round(share * len(before))))
            moved = [a != b for a, b in zip(first, split(after, params, {}), strict=False)]
            row[f"moved_{share:.0%}"] = float(np.mean(moved))
        if added:
            known = dict(zip(before["sha256"], first, strict=True))
            row["moved_remembered"] = split(every, params, known)[: len(before)] != first
        rows.append(row)
    return {key: round(float(value), 5) for key, value in pd.DataFrame(rows).astype(float).mean().items()}


def main(
    seeds: Annotated[int, typer.Option(help="For each size of a folder.")] = 300,
    classes: Annotated[list[int] | None, typer.Option(help="Numbers of classes.")] = None,
    images: Annotated[list[int] | None, typer.Option(help="Numbers of images a class.")] = None,
    splittings: Annotated[list[str] | None, typer.Option(help="Some of them.")] = None,
    add: Annotated[bool, typer.Option(help="Add files, too, which takes most of the time.")] = True,
) -> None:
    """Print a table of the means over all sizes, and a line of JSON with the figures of each."""
    sizes = [(c, i) for c in classes or CLASSES for i in images or IMAGES]
    figures_of_all = [
        {"splitting": name, "classes": c, "images": i, **figures(name, c, i, seeds, ADDED if add else ())}
        for name in splittings or SPLITTINGS
        for c, i in track(sizes, name, console=Console(stderr=True))
    ]
    means = pd.DataFrame(figures_of_all).drop(columns=["classes", "images"]).groupby("splitting", sort=False).mean()
    table = Table("splitting", *means.columns)
    for name, row in means.iterrows():
        table.add_row(str(name), *(f"{value:.2%}" for value in row))
    Console().print(table)
    typer.echo(f"{len(sizes) * seeds} folders each")
    typer.echo(json.dumps(figures_of_all))


if __name__ == "__main__":
    typer.run(main)
