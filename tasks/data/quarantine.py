"""The files that can't be used, why, and how many of them a run tolerates."""

import pandas as pd

from tasks.errors import UserError
from tasks.params import DataParams

CONTRADICTED, BRIDGE, LEAK = "contradicted", "between splits", "leak"

Reasons = dict[int, tuple[str, str]]  # place of an image: the kind of its problem, and the reason


def with_contradictions(table: pd.DataFrame) -> pd.DataFrame:
    """Mark files whose label a byte-identical file contradicts, all of them: nobody knows which is right.

    Args:
        table: columns ``path``, ``label``, ``sha256``, ``kind`` and ``reason``, which is empty for usable files.
    """
    usable = table[table["reason"] == ""]
    labels = usable.groupby("sha256")["label"].transform("nunique")
    for _, twins in usable[labels > 1].groupby("sha256"):
        for place, file in twins.iterrows():
            other = twins[twins["label"] != file["label"]].iloc[0]
            reason = f"has the very content of {other['path']}, which is labelled '{other['label']}'"
            table.loc[place, ["kind", "reason"]] = [CONTRADICTED, reason]
    return table


def must_be_few(unusable: pd.DataFrame, count: int, data: DataParams) -> None:
    """Check that no more of ``count`` files can't be used than the params tolerate.

    Raises:
        UserError: more can't.
    """
    if len(unusable) > data.max_unreadable * count:
        first = unusable.iloc[0]
        raise UserError(
            f"{len(unusable)} of {count} files in {data.path} can't be used, more than data.max_unreadable "
            f"({data.max_unreadable:.0%}) allows; the first is {first['path']} ({first['reason']})"
        )


def set_aside(images: pd.DataFrame, dropped: Reasons, unusable: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the images that are used, and all files that aren't, sorted by path.

    Args:
        images: that could be used, under their places.
        dropped: those of them that are not, and why.
        unusable: the other files, with their reasons.
    """
    for place, (kind, reason) in dropped.items():
        images.loc[place, ["kind", "reason"]] = [kind, reason]
    table = images.drop(index=list(dropped)).reset_index(drop=True)
    return table, pd.concat([unusable, images.loc[list(dropped)]]).sort_values("path", ignore_index=True)
