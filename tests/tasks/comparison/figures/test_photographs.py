"""The images that are shown are the right ones, with the right words."""

from pathlib import Path

import numpy as np

from tasks.comparison.figures.photographs import MISTAKES, draw_mistakes, draw_suspects
from tasks.comparison.schema import SuspectLabel
from tests.tasks.comparison.conftest import MakeEntrant
from tests.tasks.comparison.pages import CLASSES, data_of, upper_half


def test_the_worst_mistakes_are_shown(entrant: MakeEntrant, cells: Path) -> None:
    """Misclassified images only, the surest first, each with its answer and its label as they are written."""
    table = entrant("full", 0.5, classes=CLASSES).test
    panels = draw_mistakes(table, CLASSES, data_of(cells).read_image, upper_half)
    assert panels is not None
    wrong = table[table["label"] != table["predicted"]]
    sure = wrong[[f"p[{name}]" for name in CLASSES]].max(axis=1).sort_values(ascending=False)
    titles = [figure.axes[0].get_title(loc="left") for figure in panels.figures]
    assert len(titles) == min(len(wrong), MISTAKES)
    assert [title.splitlines()[0].split()[-1] for title in titles] == [f"{p:.2f}" for p in sure[: len(titles)]]
    for figure in panels.figures:
        (shown,) = figure.axes[0].images
        above, below = np.split(np.asarray(shown.get_array())[:, -300:].astype(int), 2)
        assert np.ptp(above, axis=2).mean() > 50, "what speaks for the answer is coloured"
        assert np.ptp(below, axis=2).max() == 0, "and the rest is as it was"


def test_suspect_labels_are_shown(cells: Path) -> None:
    """The image itself, with its label and what it is rather; most likely wrong first."""
    data = data_of(cells)
    doubted = [
        SuspectLabel(path=path, label="one", suggested="other", probability=0.9)
        for path in data.table["path"][: MISTAKES + 3]
    ]
    panels = draw_suspects(doubted, ["one", "other"], data.read_image)
    assert panels is not None
    assert len(panels.figures) == MISTAKES
    (axes,) = panels.figures[0].axes
    assert axes.get_title(loc="left") == "labelled one\nrather other 0.90"
    assert np.array_equal(axes.images[0].get_array(), data.read_image(doubted[0].path)[..., 0])
    assert draw_suspects([], CLASSES, data.read_image) is None


def test_a_long_name_is_not_cut_off(cells: Path) -> None:
    """A figure is as wide as its words, and as high as its image and they."""
    data = data_of(cells)
    doubted = SuspectLabel(path=data.table["path"][0], label="label " * 9, suggested="other", probability=0.9)
    panels = draw_suspects([doubted], [doubted.label, "other"], data.read_image)
    assert panels is not None
    (figure,) = panels.figures
    assert figure.bbox.x0 <= figure.axes[0].get_tightbbox().x0  # type: ignore[union-attr]
    assert figure.axes[0].get_tightbbox().x1 <= figure.bbox.x1  # type: ignore[union-attr]
    assert figure.axes[0].get_tightbbox().y1 <= figure.bbox.y1  # type: ignore[union-attr]
