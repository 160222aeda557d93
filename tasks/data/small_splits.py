"""What a small validation split can't tell: how wide the confidence intervals of its accuracies are."""

import math

import pandas as pd

from tasks.wording import counted

Z = 1.96  # at 95 %
ROUGH = 0.2  # half an interval that is wider than this is said


def wilson_half_width(images: int) -> float:
    """Return half of the widest interval of an accuracy on so many images (Wilson, at 95 %)."""
    return Z * math.sqrt(images + Z**2) / (2 * (images + Z**2))


def independent_images(rows: pd.DataFrame) -> pd.Series:
    """Count the independent images of each class in rows of the manifest: groups, and images that are in none."""
    units = rows["group"].where(rows["group"] != "", rows["path"])
    return units.groupby(rows["label"]).nunique()


def notes_on_small_classes(table: pd.DataFrame, folds: int) -> list[str]:
    """Return a line on the class of the manifest of which the fewest images are validated on, if they tell little.

    Args:
        table: the manifest.
        folds: that are validated on, one after the other; 0: the validation split alone.
    """
    counts = independent_images(table[table["fold"] >= 0] if folds else table[table["split"] == "val"])
    little = counts[counts.map(wilson_half_width) > ROUGH].sort_values(kind="stable")
    if little.empty:
        return []
    label, count = little.index[0], int(little.iloc[0])
    where = f"the {folds} folds have" if folds else "the val split has"
    others = f", and few of {len(little) - 1} more" if len(little) > 1 else ""
    divided = (table["fold"] >= 0).any()
    more = "" if divided else "; split.folds: 5 trains five times and validates on all but the test split"
    return [
        f"{where} {counted(count, 'independent images')} of the class '{label}'{others}: its accuracy there is known "
        f"to ± {wilson_half_width(count):.1f} at best{more}"
    ]
