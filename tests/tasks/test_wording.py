"""Counts and names as sentences have them."""

import pytest

from tasks.wording import counted, enumerated, have


@pytest.mark.parametrize(
    ("names", "sentence"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_names_are_enumerated(names: list[str], sentence: str) -> None:
    """One, two, or more of them."""
    assert enumerated(names) == sentence
    assert enumerated(iter(names), "or") == sentence.replace("and", "or")


def test_one_thing_is_no_plural() -> None:
    """None and several are."""
    assert [counted(count, "images") for count in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert counted(1, "copies", "copy") == "1 copy"
    assert [have(count) for count in (0, 1, 2)] == ["have", "has", "have"]
