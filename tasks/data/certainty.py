"""What a small split can't tell."""

import math

import pandas as pd

Z = 1.96  # at 95 %
ROUGH = 0.2  # half an interval that is wider than this is said


def half_width(images: int) -> float:
    """Return half of the widest interval of an accuracy on so many images (Wilson, at 95 %)."""
    return Z * math.sqrt(images + Z**2) / (2 * (images + Z**2))


def independent(rows: pd.DataFrame) -> pd.Series:
    """Return the independent images of each class in rows of the manifest: groups, and images that are in none."""
    units = rows["group"].where(rows["group"] != "", rows["path"])
    return units.groupby(rows["label"]).nunique()


def rough(table: pd.DataFrame) -> list[str]:
    """Return a line on the class of the manifest of which the fewest images are validated on, if they tell little."""
    counts = independent(table[table["split"] == "val"])
    little = counts[counts.map(half_width) > ROUGH].sort_values(kind="stable")
    if little.empty:
        return []
    label, count = little.index[0], int(little.iloc[0])
    others = f", and few of {len(little) - 1} more" if len(little) > 1 else ""
    images = "independent image" if count == 1 else "independent images"
    return [
        f"the val split has {count} {images} of the class '{label}'{others}: its accuracy there is known to "
        f"± {half_width(count):.1f} at best"
    ]
