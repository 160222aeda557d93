"""Pictures are files that a browser shows, and the same figure is the same file."""

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tasks.comparison.figures.rendering import SHEET_WIDTH, Picture, as_png, as_svg, save
from tasks.comparison.figures.style import blank, legend_of
from tests.tasks.comparison.pages import svg_of


def drawn(width: float = 2.0, title: str = "a <title> & more") -> Figure:
    """Return a figure with lines, dots and words."""
    figure, axes = blank(width, 1.5)
    axes.plot([1, 2, 3], [3, 1, 2], "o-", label="line")
    axes.fill_between([1, 3], [0, 1], hatch="/")
    axes.set_title(title)
    return figure


@pytest.mark.parametrize("render", [as_svg, as_png])
def test_the_same_figure_is_the_same_file(render: Callable[[Figure], Picture]) -> None:
    """Nothing of the day, of chance or of the machine's fonts is in it."""
    assert render(drawn()).content == render(drawn()).content


def test_a_picture_has_the_size_of_its_figure() -> None:
    """In pixels of a page, also where the file itself has another unit."""
    for picture in (as_svg(drawn(2.0)), as_png(drawn(2.0))):
        assert (picture.width, picture.height) == (200, 150)


def test_words_are_outlines_and_no_markup() -> None:
    """A name is drawn, so that no browser reads it as a tag or lacks its font."""
    tree = svg_of(as_svg(drawn(title="<script>alert(1)</script>")).content)
    tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert "path" in tags
    assert not {"text", "script"} & tags


def test_several_pictures_stand_side_by_side_in_one_file(tmp_path: Path) -> None:
    """Each is in it once, whole; none lies on another, or outside; a legend has a row of its own."""
    legend = legend_of(*drawn().axes[0].get_legend_handles_labels(), columns=1)
    pictures = [as_svg(legend), as_svg(drawn(4.0)), as_svg(drawn(5.0)), as_png(drawn(3.0))]
    assert save(pictures[:1], tmp_path, "single").read_bytes() == pictures[0].content
    file = save(pictures, tmp_path, "several")
    assert file.name == "several.svg"
    tree = svg_of(file.read_bytes())
    images = [element for element in tree.iter() if element.tag.endswith("}image")]
    contents = [base64.b64decode(str(image.get("href")).partition(",")[2]) for image in images]
    assert contents == [picture.content for picture in pictures]
    assert int(str(tree.get("width"))) <= SHEET_WIDTH
    corners = [(int(str(image.get("x"))), int(str(image.get("y")))) for image in images]
    below = pictures[0].height
    assert corners == [(0, 0), (0, below), (400, below), (0, below + 150)]


def test_a_legend_is_as_large_as_its_words() -> None:
    """What explains the panels is a figure of its own, which holds all of it."""
    handles, labels = drawn().axes[0].get_legend_handles_labels()
    figure = legend_of(handles, labels, columns=1)
    (legend,) = figure.legends
    assert figure.bbox.width == pytest.approx(legend.get_window_extent().width)
    assert not re.search(rb"nan", as_svg(figure).content)
