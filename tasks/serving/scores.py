"""A folder of images scored: a row a file, checked by pandera."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from tasks.arrays import Pixels
from tasks.data.decoding import DeepGrey, to_8_bits
from tasks.data.reading import read
from tasks.evaluation.predictions import probability_columns
from tasks.serving.champion import Champion

BLOCK = 512  # images that are in memory at once; a multiple of the inference batch
OUT_OF_RANGE = "grey beyond 8 bits, which none of the images had that were trained on"

SCORES = pa.DataFrameSchema(
    {
        "path": pa.Column(str, pa.Check.str_length(min_value=1), unique=True),
        "label": pa.Column(str, nullable=True),
        "probability": pa.Column(float, pa.Check.in_range(0, 1), nullable=True),
        "unlike": pa.Column("boolean", nullable=True),
        "distance": pa.Column(float, pa.Check.ge(0), nullable=True),
        "problem": pa.Column(str),
        r"(?s)^p\[.*\]$": pa.Column(float, pa.Check.in_range(0, 1), regex=True, nullable=True),
    },
    checks=pa.Check(
        lambda table: (table["problem"] == "") == table["label"].notna(), error="a label, or a problem, for every file"
    ),
    strict=True,
)


def score(
    champion: Champion, root: Path, names: Sequence[str], progress: Callable[[int], None] = lambda _: None
) -> pd.DataFrame:
    """Return what the champion says of image files, a row a file in their order.

    Args:
        champion: answers.
        root: the folder that no file may lie outside of.
        names: of the files, relative to it.
        progress: called with the number of files that were done since the last call.

    Returns:
        ``label`` and its calibrated ``probability``, ``p[CLASS]`` of every class; ``unlike``: whether the image is
        unlike those that were trained on, by the ``distance`` of its features; or the ``problem`` that a file has.
    """
    tables = [_table(champion, [], [], np.empty((0, 0, 0, 0), dtype=np.uint8))]
    for block, problems, pixels in blocks(champion, root, names):
        tables.append(_table(champion, block, problems, pixels))
        progress(len(block))
    table = pd.concat(tables, ignore_index=True)
    checked: pd.DataFrame = SCORES.validate(table, lazy=True)
    return checked


def blocks(champion: Champion, root: Path, names: Sequence[str]) -> Iterator[tuple[Sequence[str], list[str], Pixels]]:
    """Yield some names of image files at a time, the problem of each or nothing, and the pixels of those without."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(names), BLOCK):
            block = names[start : start + BLOCK]
            read_images = list(pool.map(partial(read_image, champion, root), block))
            usable = [pixels for pixels, _ in read_images if pixels is not None]
            yield block, [problem for _, problem in read_images], np.array(usable)


def read_image(champion: Champion, root: Path, name: str) -> tuple[Pixels | None, str]:
    """Return the pixels of a file at the champion's working size, or its problem."""
    facts = champion.facts
    seen, pixels = read(root, name, facts.data, facts.channels, links_to=champion.links_to)
    if isinstance(pixels, DeepGrey):
        bounds = pixels.extent.own_range if facts.data.range == "image" else facts.ranges.get(pixels.kind)
        return (to_8_bits(pixels.plane, *bounds, facts.channels), "") if bounds else (None, OUT_OF_RANGE)
    return pixels, seen.problem


def _table(champion: Champion, names: Sequence[str], problems: Sequence[str], pixels: Pixels) -> pd.DataFrame:
    classes = champion.facts.classes
    usable = np.array([not problem for problem in problems], dtype=bool)
    probabilities = np.full((len(names), len(classes)), np.nan)
    distances = np.full(len(names), np.nan)
    if usable.any():
        answers = champion.answer(pixels)
        probabilities[usable], distances[usable] = answers.probabilities, answers.distances
    best = np.where(usable, np.nan_to_num(probabilities).argmax(axis=1), 0)
    labels = pd.Series([classes[c] if ok else None for c, ok in zip(best, usable, strict=True)], dtype="str")
    unlike = pd.Series(distances > champion.facts.farthest, dtype="boolean").mask(~usable)
    table = pd.DataFrame(
        {
            "path": pd.Series(names, dtype="str"),
            "label": labels,
            "probability": probabilities[np.arange(len(names)), best],
            "unlike": unlike,
            "distance": distances,
            "problem": pd.Series(problems, dtype="str"),
        }
    )
    return table.assign(**probability_columns(probabilities, classes))
