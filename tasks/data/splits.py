"""Seeded splits that neither the order of listing nor added files can change."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tasks.errors import UserError
from tasks.params import SplitParams

SPLITS = ("train", "val", "test")


def position(digest: str, label: str, seed: int) -> float:
    """Return a number in [0, 1) drawn from an image's content, its class and the seed alone.

    Each class is so divided by its own independent draw, and byte-identical images of a class fall into one split.
    """
    drawn = hashlib.sha256(f"{seed}:{label}:{digest}".encode()).digest()
    return int.from_bytes(drawn[:7]) / 2**56


def assign(digests: Sequence[str], labels: Sequence[str], given: Sequence[str], params: SplitParams) -> list[str]:
    """Return ``train``, ``val`` or ``test`` for every image.

    Splits that the source gave are kept; a held-out split that it lacks is carved from its ``train``. Where an image
    falls depends on that image alone, so the shares of every class hold in expectation, not to the image.
    """
    present = set(given) - {""}
    test_share = 0.0 if "test" in present else params.test
    val_share = 0.0 if "val" in present else params.validation
    if "test" in present:
        val_share /= 1 - params.test
    if "val" in present:
        test_share /= 1 - params.validation
    splits = []
    for digest, label, split in zip(digests, labels, given, strict=True):
        drawn = position(digest, label, params.seed)
        if split in {"val", "test"}:
            splits.append(split)
        elif drawn < test_share:
            splits.append("test")
        elif drawn < test_share + val_share:
            splits.append("val")
        else:
            splits.append("train")
    return splits


def check(labels: pd.Series, splits: pd.Series) -> list[str]:
    """Return a warning for every class that a held-out split lacks.

    Raises:
        UserError: a class has nothing to train on, or a held-out split has fewer than two classes.
    """
    table = pd.crosstab(labels, splits).reindex(columns=list(SPLITS), fill_value=0)
    untrained = table.index[table["train"] == 0]
    if len(untrained):
        raise UserError(f"no image of the class '{untrained[0]}' is left to train on: add images of it or remove it")
    warnings = []
    for split in ("val", "test"):
        if np.count_nonzero(table[split]) < 2:
            raise UserError(
                f"the {split} split has images of fewer than two classes: add images, or raise its share in params.yaml"
            )
        warnings += [
            f"the class '{label}' has no image in the {split} split: nothing is claimed about it there"
            for label in table.index[table[split] == 0]
        ]
    return warnings
