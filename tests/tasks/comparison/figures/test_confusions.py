"""Confusion matrices fit the page, however many classes there are."""

from tasks.comparison.figures.confusions import draw_confusions
from tests.tasks.comparison.conftest import MakeEntrant, comparison_of, ranked_of


def test_many_classes_have_one_confusion_matrix(entrant: MakeEntrant) -> None:
    """With dozens of classes the champion's matrix is drawn, in a size that a page has room for, without figures."""
    classes = [f"class {i}" for i in range(80)]
    comparison = comparison_of(
        ranked_of([entrant(name, 1.0, classes=classes) for name in ("full", "head_only")], classes), classes
    )
    (figure,) = draw_confusions(comparison).figures
    (axes,) = figure.axes
    assert axes.get_title(loc="left").removeprefix("★ ") == comparison.leader.name
    assert max(figure.get_size_inches()) < 12
    assert not axes.texts
