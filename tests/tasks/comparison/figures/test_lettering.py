"""Names in pictures: as they are, or a number where matplotlib would draw boxes or letters that aren't joined."""

import io
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from tasks.comparison.figures.lettering import Lettering, is_writable

ITSELF = ["intact", "Größe", "кошка", "γάτα", "naïve", "a_b-c 1/2", "½ …"]
A_NUMBER = [
    "猫",
    "ねこ",
    "고양이",
    "قطة",
    "חתול",
    "बिल्ली",
    "แมว",
    "🦊",
    "☀️",
    "g\u200bh",
    "e\u0301",
    "line\nbreak",
    "#1",
]


@pytest.mark.parametrize("name", ITSELF)
def test_what_is_written(name: str) -> None:
    """Scripts that the font has, letter by letter."""
    lettering = Lettering([name])
    assert lettering.of(name) == name
    assert lettering.numbered == []


@pytest.mark.parametrize("name", A_NUMBER)
def test_what_is_numbered(name: str) -> None:
    """By its place among the classes, whoever asks."""
    classes = ["intact", name]
    assert Lettering(classes).of(name) == Lettering(classes).of(name) == "#2"
    assert Lettering(classes).numbered == [("#2", name)]


def test_other_names_are_numbered_behind_the_classes() -> None:
    """A group's name, once."""
    lettering = Lettering(["猫", "dog"])
    assert [lettering.of(name) for name in ("病人", "module 7", "病人", "猫")] == ["#3", "module 7", "#3", "#1"]
    assert lettering.numbered == [("#1", "猫"), ("#3", "病人")]


@given(name=st.text(max_size=12))
def test_matplotlib_has_whatever_is_written(name: str) -> None:
    """It warns of nothing that is drawn."""
    figure = Figure(figsize=(1, 1))
    figure.text(0, 0, Lettering([name]).of(name))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png", dpi=20)


@given(names=st.lists(st.text(min_size=1, max_size=6), max_size=6, unique=True))
def test_numbers_are_told_apart(names: list[str]) -> None:
    """No two names have one number."""
    lettering = Lettering(names)
    numbers = [lettering.of(name) for name in names if not is_writable(name)]
    assert len(set(numbers)) == len(numbers)
