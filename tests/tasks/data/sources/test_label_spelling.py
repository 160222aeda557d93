"""Names of classes, groups and subsets: which are the same, and what is said of it."""

import unicodedata
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.sources import LabelledFile, SourceListing, find
from tasks.data.sources.label_spelling import LabelCase, clean_label, clean_listing, spelt_as
from tasks.errors import UserError
from tasks.params import DataParams

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Müll") for form in ("NFC", "NFD"))
AROUND = st.text(st.sampled_from(" \t\n\u00a0\u2003\u3000\u200b\ufeff\u200e\u2060"), max_size=3)


def of(*labels: str, group: Sequence[str] = (), subset: Sequence[str] = ()) -> SourceListing:
    """Return an image of each label, with its group and its subset."""
    files = [
        LabelledFile(f"{place}.png", label, group=shared, subset=kind)
        for place, (label, shared, kind) in enumerate(zip_longest(labels, group, subset, fillvalue=""))
    ]
    return SourceListing(Path("photos"), files)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"glass"', "glass"),
        (" 'glass ' ", "glass"),
        ("“glass”", "glass"),
        ("«glass»", "glass"),
        ('""glass""', "glass"),
        ("\ufeffglass\u200b", "glass"),
        ("hot \t\u00a0 spot", "hot spot"),
        ("gl\u200bass", "glass"),
        (DECOMPOSED, COMPOSED),
        ("dogs'", "dogs'"),
        ('5"', '5"'),
        ("'a' or 'b'", "'a' or 'b'"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_what_a_name_is_compared_by(text: str, expected: str) -> None:
    """Blanks, quotes in pairs and invisible marks around it go; what belongs to a script stays."""
    assert clean_label(text) == expected


@given(st.text(min_size=1, max_size=12), AROUND, AROUND)
def test_cleaning_is_done_once(text: str, before: str, after: str) -> None:
    """Nothing changes the second time, and nothing around a name matters."""
    clean = clean_label(text)
    assert clean_label(clean) == clean == clean_label(before + text + after)


@pytest.mark.parametrize("case", ["join", "keep"])
def test_names_that_look_the_same_are_one(case: LabelCase) -> None:
    """Whatever becomes of case; the note has each spelling and how many images it had."""
    cleaned = clean_listing(of("glass", "glass ", "glass", DECOMPOSED, COMPOSED, COMPOSED), case)
    assert [file.label for file in cleaned.files] == ["glass"] * 3 + [COMPOSED] * 3
    assert any("joined 'glass ' (1 image) with 'glass' (2)" in note for note in cleaned.notes)
    assert any(f"joined 'Mu\\u0308ll' (1 image) with '{COMPOSED}' (2)" in note for note in cleaned.notes)


def test_case_alone_is_joined_under_the_commonest_spelling() -> None:
    """The note says how to keep them apart; of equally common spellings the first stays."""
    cleaned = clean_listing(of("Glass", "glass", "glass", "STRASSE", "Straße"), "join")
    assert [file.label for file in cleaned.files] == ["glass"] * 3 + ["STRASSE"] * 2
    assert cleaned.notes == [
        "joined 'Glass' (1 image) with 'glass' (2): names that differ in case alone; data.label_case: keep keeps them "
        "apart",
        "joined 'Straße' (1 image) with 'STRASSE' (1): names that differ in case alone; data.label_case: keep keeps "
        "them apart",
    ]


def test_case_may_be_kept_and_is_said() -> None:
    """Two classes stay two, and a note names them."""
    cleaned = clean_listing(of("Glass", "glass", "paper"), "keep")
    assert [file.label for file in cleaned.files] == ["Glass", "glass", "paper"]
    (note,) = cleaned.notes
    assert "'Glass' (1), 'glass' (1) differ in case alone and are kept apart" in note
    assert "data.label_case: join" in note


def test_what_was_only_written_otherwise_is_said_with_five_names_at_most() -> None:
    """A blank around the one spelling there is joins nothing, but changes what is shown."""
    (note,) = clean_listing(of(*(f" {i}" for i in range(8))), "join").notes
    assert note.count("image") == 5
    assert "and 3 more" in note


def test_many_joined_names_are_counted() -> None:
    """Five sentences, and how many more."""
    notes = clean_listing(of(*(f"{name}{i}" for i in range(9) for name in "Aa")), "join").notes
    assert len(notes) == 6
    assert notes[-1] == "and 4 more like these"


def test_nothing_is_said_of_names_that_are_clean() -> None:
    """A usual data set has no notes."""
    assert clean_listing(of("cat", "dog", "hot spot"), "join").notes == []


def test_groups_and_subsets_are_cleaned_and_only_subsets_joined() -> None:
    """Patients P1 and p1 may be two; a device is one however it is written."""
    cleaned = clean_listing(of("a", "b", "c", group=["p1 ", "p1", "P1"], subset=["Mono", "mono", "\u00a0mono"]), "join")
    assert [file.group for file in cleaned.files] == ["p1", "p1", "P1"]
    assert [file.subset for file in cleaned.files] == ["mono"] * 3
    assert any("the group 'p1 '" in note for note in cleaned.notes)
    assert any("the subset 'Mono'" in note for note in cleaned.notes)


def test_a_name_of_blanks_is_refused() -> None:
    """It can't be shown, and the sentence has a file of it."""
    with pytest.raises(UserError, match=r"the class '\\xa0' of 1.png in photos has a name of blanks"):
        clean_listing(of("cat", "\u00a0"), "join")


def test_folders_are_joined(tmp_path: Path) -> None:
    """What is true of tables is true of folders, and the files stay where they are."""
    names = ["glass", "Glass", "glass ", COMPOSED, DECOMPOSED, "paper"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    files = find(DataParams(source="folder", path=str(tmp_path)), tmp_path / "work").files
    assert {file.label for file in files} == {"glass", COMPOSED, "paper"}
    assert {file.path for file in files} == {f"{name}/1.png" for name in names}
    kept = find(DataParams(source="folder", path=str(tmp_path), label_case="keep"), tmp_path / "work").files
    assert {file.label for file in kept} == {"glass", "Glass", COMPOSED, "paper"}


def test_one_class_by_another_spelling_is_not_enough(tmp_path: Path) -> None:
    """Two folders of one class are one class."""
    for name in ("Cat", "cat"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").touch()
    with pytest.raises(UserError, match=r"only the class 'Cat' \(2 files\)"):
        find(DataParams(source="folder", path=str(tmp_path)), tmp_path / "work")


def test_classes_of_an_earlier_model_are_known_again() -> None:
    """A spelling that has changed since is the same class, unless two are meant."""
    assert spelt_as(["glass", "paper"], ["Glass", "glass ", "paper", "wood"]) == ["glass", "glass", "paper", "wood"]
    assert spelt_as(["Glass", "glass"], ["glass", "GLASS"]) == ["glass", "GLASS"]
