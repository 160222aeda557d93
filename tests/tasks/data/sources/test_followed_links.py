"""Links to folders: entered where params ask for it, said and counted where they don't."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data.sources import SourceListing, find, folder_tree
from tasks.errors import UserError
from tasks.params import DataParams


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes, one of them with links: to a folder elsewhere, to another class, and in a circle."""
    for file in ("photos/cat/1.png", "photos/dog/2.png", "elsewhere/3.png", "elsewhere/deep/4.png"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "photos/cat/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/up").symlink_to(tmp_path / "photos/cat")
    return tmp_path / "photos"


def listing_of(photos: Path, **params: Any) -> SourceListing:
    """Return what is found in a folder."""
    return find(DataParams(source="folder", path=str(photos), **params), Path("unused"))


def test_linked_folders_are_counted(photos: Path) -> None:
    """By default nobody enters them; a note says how many there are, and what to write."""
    seen = listing_of(photos)
    assert [file.path for file in seen.files] == ["cat/1.png", "dog/2.png"]
    assert [(file.path, file.kind) for file in seen.passed_over] == [("cat/more", "links to folders")]
    (note,) = seen.notes
    assert "1 link to a folder" in note
    assert "data.follow_links" in note
    assert "cat/more" in note


def test_linked_folders_are_entered(photos: Path) -> None:
    """With data.follow_links all is found behind them once; the circle ends, and is counted."""
    seen = listing_of(photos, follow_links=True)
    assert [file.path for file in seen.files] == ["cat/1.png", "cat/more/3.png", "cat/more/deep/4.png", "dog/2.png"]
    assert [(file.path, file.kind) for file in seen.passed_over] == [("cat/more/up", "links that lead back")]
    assert any("2 of 4 files lie outside" in note and "cat/more/3.png" in note for note in seen.notes)


def test_a_class_that_is_a_linked_folder(photos: Path) -> None:
    """It is refused with what to write, and then listed under the link's own name."""
    (photos / "cat/more").unlink()
    (photos / "bird").symlink_to(photos.parent / "elsewhere/deep")
    with pytest.raises(UserError, match=r"bird is a link to a folder.*'follow_links: true'"):
        listing_of(photos)
    files = {file.path: file.label for file in listing_of(photos, follow_links=True).files}
    assert files["bird/4.png"] == "bird"


def test_without_links_nothing_is_said(photos: Path) -> None:
    """A folder of plain files has no notes, whatever the params say."""
    (photos / "cat/more").unlink()
    for follow in (False, True):
        seen = listing_of(photos, follow_links=follow)
        assert (seen.notes, seen.passed_over) == ([], [])


@given(links=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=10))
@settings(max_examples=60, deadline=None)
def test_any_links_end(tmp_path_factory: pytest.TempPathFactory, links: list[tuple[int, int]]) -> None:
    """However folders link to one another, each is entered once, and every file that can be reached is met once."""
    root = tmp_path_factory.mktemp("links")
    places = [root / "a", root / "a/b", root / "a/b/c", root / "d", root / "d/e", root / "f"]
    for place in places:
        place.mkdir()
        (place / "file.png").touch()
    for number, (at, to) in enumerate(links):
        (places[at] / f"link{number}").symlink_to(places[to])
    top = folder_tree.read_tree(places[0], lambda _: True, follow=True)
    met = [os.path.realpath(places[0] / path) for folder in top.below() for path in folder.images]
    assert len(met) == len(set(met)) == top.count
    reached = {0, 1, 2}
    while more := {to for at, to in links if at in reached} - reached:
        reached |= more | {below for above in more for below in range(6) if places[above] in places[below].parents}
    assert set(met) == {os.path.realpath(places[place] / "file.png") for place in reached}
