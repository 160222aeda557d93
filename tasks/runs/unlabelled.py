"""Images without a label: recorded when the data are prepared, scored by the champion at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tasks import layout
from tasks.data import manifest, sources, unlabelled
from tasks.data.sources import UNLABELLED, SourceListing
from tasks.params import DataParams
from tasks.progress import counting
from tasks.wording import counted

NOTHING = {
    "path": "str", "label": "str", "probability": "float64", "unlike": "boolean", "distance": "float64",
    "problem": "str",
}  # fmt: skip


@dataclass(frozen=True)
class Waiting:
    """Images that wait for a champion.

    Attributes:
        root: the folder that they lie in.
        names: their paths in it.
    """

    root: Path
    names: list[str]


def record(listed: SourceListing) -> None:
    """Write which images of a source have no label."""
    paths = [file.path for file in listed.passed_over if file.kind == UNLABELLED]
    manifest.write_table(unlabelled.table(listed.root, paths), unlabelled.SCHEMA, layout.UNLABELLED)


def waiting(params: DataParams) -> Waiting:
    """Return the images that ``prepare`` found without a label.

    Raises:
        UserError: it did not run yet, or the images are not there any more.
    """
    names = manifest.read_table(layout.UNLABELLED, unlabelled.SCHEMA)["path"].tolist()
    return Waiting(sources.find(params, layout.WORK).root if names else Path(), names)


def score_unlabelled(images: Waiting, folder: Path | None, classes: Sequence[str]) -> str:
    """Write what a champion says of images without a label, by ``flows.predict``'s columns; return what was done.

    Args:
        images: the images.
        folder: that the champion was written to; None: there is no champion, and nothing is scored.
        classes: the names that it may answer.
    """
    from tasks.runs.links import following_links
    from tasks.serving.champion import Champion
    from tasks.serving.scores import SCORES, score

    columns = NOTHING | {f"p[{name}]": "float64" for name in classes}
    table = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
    if folder and images.names:
        champion = Champion.read(folder)
        with counting("unlabelled images scored", len(images.names)) as advance:
            table = score(following_links(champion, images.root), images.root, images.names, advance)
    manifest.write_table(table, SCORES, layout.UNLABELLED_SCORES)
    return scored_sentence()


def scored_sentence() -> str:
    """Return what the last comparison did with images without a label; empty where there are none."""
    if not (layout.UNLABELLED.is_file() and layout.UNLABELLED_SCORES.is_file()):
        return ""
    asked = len(pd.read_parquet(layout.UNLABELLED, columns=["path"]))
    problems = pd.read_parquet(layout.UNLABELLED_SCORES, columns=["problem"])["problem"]
    if not asked:
        return ""
    if problems.empty:
        were = "was" if asked == 1 else "were"
        return f"{counted(asked, 'unlabelled images')} {were} not scored: this comparison has no champion"
    unusable = int((problems != "").sum())
    but = f" ({unusable} more can't be read: see the column problem)" if unusable else ""
    scored = len(problems) - unusable
    return f"scored {counted(scored, 'unlabelled images')}: {layout.UNLABELLED_SCORES}{but}"
