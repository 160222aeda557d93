"""Folders as people have them: which are splits, which are classes, what has no label and what is no image."""

import os
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tasks.data.sources import UNLABELLED, SourceListing, as_unicode
from tasks.errors import UserError
from tests.tasks.data.sources.trees import IMAGE, below, everything, grow, listing_of


def labels(listing: SourceListing) -> set[tuple[str, str]]:
    """Return the label and split of all files."""
    return {(file.label, file.split) for file in listing.files}


def over(listing: SourceListing, kind: str) -> list[str]:
    """Return the paths of what is passed over as of a kind."""
    return [file.path for file in listing.passed_over if file.kind == kind]


def said(listing: SourceListing) -> str:
    """Return all notes."""
    return "\n".join(listing.notes)


# ---- images outside of class folders


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_split_of_images_without_classes(tmp_path: Path, split: str) -> None:
    """They are counted, none is trained on, and the split counts as not given."""
    listing = listing_of(
        grow(tmp_path / "photos", *below("train"), f"{split}/1.png", f"{split}/2.png", f"{split}/3.jpg")
    )
    assert labels(listing) == {("cat", "train"), ("dog", "train")}
    assert over(listing, UNLABELLED) == [f"{split}/1.png", f"{split}/2.png", f"{split}/3.jpg"]
    assert f"3 images in {split} have no label" in said(listing)
    assert f"a {split} split is drawn from train" in said(listing)


def test_a_given_split_with_some_images_beside_its_classes(tmp_path: Path) -> None:
    """The split stays given; its loose images are unlabelled, and so are those loose in train."""
    listing = listing_of(grow(tmp_path / "photos", *below("train", "test"), "test/1.png", "train/1.png"))
    assert labels(listing) == {(label, split) for label in ("cat", "dog") for split in ("train", "test")}
    assert over(listing, UNLABELLED) == ["test/1.png", "train/1.png"]
    assert "1 image in test has no label" in said(listing)
    assert "drawn" not in said(listing)


def test_images_beside_class_folders(tmp_path: Path) -> None:
    """Ten images at the root belong to no class."""
    listing = listing_of(grow(tmp_path / "photos", *(f"{i}.png" for i in range(10)), "cat/1.png", "dog/1.png"))
    assert labels(listing) == {("cat", ""), ("dog", "")}
    assert len(over(listing, UNLABELLED)) == 10
    assert f"10 images in {tmp_path / 'photos'} itself have no label" in said(listing)


def test_a_folder_that_says_unlabelled_in_train(tmp_path: Path) -> None:
    """It is no class there either."""
    listing = listing_of(grow(tmp_path / "photos", *below("train", inner=("cat", "dog", "unlabelled"))))
    assert labels(listing) == {("cat", "train"), ("dog", "train")}
    assert over(listing, UNLABELLED) == ["train/unlabelled/1.png"]


@pytest.mark.parametrize("inner", ["test", "test1", "images", "unknown"])
def test_a_test_split_whose_folder_is_no_class(tmp_path: Path, inner: str) -> None:
    """A folder in test that train has no class for holds unlabelled images, however it is called."""
    listing = listing_of(grow(tmp_path / "photos", *below("train"), f"test/{inner}/1.png"))
    assert labels(listing) == {("cat", "train"), ("dog", "train")}
    assert over(listing, UNLABELLED) == [f"test/{inner}/1.png"]
    assert "a test split is drawn from train" in said(listing)


def test_a_folder_that_says_unlabelled(tmp_path: Path) -> None:
    """Beside class folders it is no class."""
    listing = listing_of(grow(tmp_path / "photos", "cat/1.png", "dog/1.png", "unlabeled_images/1.png"))
    assert labels(listing) == {("cat", ""), ("dog", "")}
    assert over(listing, UNLABELLED) == ["unlabeled_images/1.png"]


# ---- splits and classes


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("2023-train", "2023-holdout"),
        ("MyTrain", "MyTest"),
        ("train_data", "eval_data"),
        ("train2017", "test2017"),
        ("train", "test_images"),
        ("train/images", "test/images"),
        ("tr", "te"),
        ("data/train", "data/test"),
    ],
)
def test_splits_under_other_names(tmp_path: Path, train: str, test: str) -> None:
    """Names that say what they are are read as splits, and the reading is said."""
    listing = listing_of(grow(tmp_path / "photos", *below(train, test)))
    assert labels(listing) == {(label, split) for label in ("cat", "dog") for split in ("train", "test")}
    assert listing.notes or {train, test} == {"train/images", "test/images"}


def test_the_set_with_images_to_predict(tmp_path: Path) -> None:
    """Of three folders named alike, the one for predictions has no labels."""
    listing = listing_of(
        grow(tmp_path / "photos", *below("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/1.png")
    )
    assert labels(listing) == {(label, split) for label in ("cat", "dog") for split in ("train", "test")}
    assert over(listing, UNLABELLED) == ["seg_pred/1.png"]
    assert "seg_pred is images without labels" in said(listing)


def test_splits_inside_the_classes(tmp_path: Path) -> None:
    """The class first, then the split."""
    listing = listing_of(grow(tmp_path / "photos", *below("cat", "dog", inner=("train", "val", "test"))))
    assert labels(listing) == {(label, split) for label in ("cat", "dog") for split in ("train", "val", "test")}
    assert "within the class folders are read as splits" in said(listing)


@pytest.mark.parametrize("outer", [("batch1", "batch2"), ("berlin", "paris", "rome")])
def test_folders_with_the_same_folders_are_said(tmp_path: Path, outer: tuple[str, ...]) -> None:
    """The outer ones are taken; that the inner ones may be meant is said, with what to do."""
    listing = listing_of(grow(tmp_path / "photos", *below(*outer)))
    assert labels(listing) == {(name, "") for name in outer}
    assert "have the same folders in them (cat, dog): if those are the classes, name the outer ones after" in said(
        listing
    )


def test_classes_with_folders_in_them_are_said(tmp_path: Path) -> None:
    """What was taken for a class, and that what is within isn't told apart."""
    files = below("animals") + below("plants", inner=("oak", "elm"))
    listing = listing_of(grow(tmp_path / "photos", *files))
    assert labels(listing) == {("animals", ""), ("plants", "")}
    assert "4 images in folders within animals, plants, such as animals/cat, are of the class that" in said(listing)


@pytest.mark.parametrize("beside", [(), ("README.md",), ("annotations/1.xml",), (".git/config", "__MACOSX/._photos")])
def test_one_folder_too_high(tmp_path: Path, beside: tuple[str, ...]) -> None:
    """The only folder with images is entered, and said."""
    listing = listing_of(grow(tmp_path / "set", *below("set/photos"), *beside))
    assert labels(listing) == {("cat", ""), ("dog", "")}
    assert "set/photos is the only folder with images" in said(listing)
    assert len(listing.passed_over) == len(beside)


def test_class_named_like_a_split_is_said(tmp_path: Path) -> None:
    """A folder test beside other classes."""
    listing = listing_of(grow(tmp_path / "photos", "cat/1.png", "dog/1.png", "test/1.png"))
    assert ("test", "") in labels(listing)
    assert "the folder test is read as a class" in said(listing)


def test_links_to_folders_are_not_followed_and_named(tmp_path: Path) -> None:
    """In a class they are counted; instead of a class they are refused."""
    root = grow(tmp_path / "photos", "cat/1.png", "dog/1.png")
    (root / "cat/again").symlink_to("../cat")
    listing = listing_of(root)
    assert over(listing, "links to folders") == ["cat/again"]
    assert "cat/again" in said(listing)
    (root / "fox").symlink_to("dog")
    with pytest.raises(UserError, match="photos/fox is a link to a folder"):
        listing_of(root)


# ---- files that are no images


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Thumbs.db", "system files"),
        ("desktop.ini", "system files"),
        (".DS_Store", "system files"),
        ("._1.png", "system files"),
        ("__MACOSX/1.png", "system files"),
        ("@eaDir/1.png/thumb.png", "system files"),
        (".ipynb_checkpoints/1.png", "system files"),
        ("$RECYCLE.BIN/1.png", "system files"),
        ("System Volume Information/x", "system files"),
        ("lost+found/1.png", "system files"),
        (".git/objects/1", "system files"),
        (".hidden.png", "hidden files"),
        (".cache/1.png", "hidden files"),
        ("1.TXT", "sidecar files"),
        ("1.xml", "sidecar files"),
        ("1.json", "sidecar files"),
        ("1.xmp", "sidecar files"),
        ("1.AAE", "sidecar files"),
        ("README", "sidecar files"),
        ("LICENSE", "sidecar files"),
        ("1.nef", "sidecar files"),
        ("clip.mp4", "other files"),
        ("nothing", "other files"),
    ],
)
@pytest.mark.parametrize("place", ["", "cat/", "cat/deep/er/"])
def test_what_is_no_image_is_passed_over(tmp_path: Path, place: str, name: str, kind: str) -> None:
    """At any depth, under its kind; the images beside it stay."""
    root = grow(tmp_path / "photos", "cat/1.png", "cat/deep/er/1.png", "dog/1.png", "1.png", f"{place}{name}")
    listing = listing_of(root)
    assert over(listing, kind) == [f"{place}{name}"]
    assert len(listing.files) == 3
    assert over(listing, UNLABELLED) == ["1.png"]
    assert kind.removesuffix("s") in said(listing)


def test_other_files_are_named(tmp_path: Path) -> None:
    """The first five."""
    listing = listing_of(grow(tmp_path / "photos", "cat/1.png", "dog/1.png", *(f"cat/{i}.mp4" for i in range(7))))
    assert "7 other files" in said(listing)
    assert "cat/4.mp4 and 2 more" in said(listing)


def test_images_are_told_by_content_where_their_name_does_not(tmp_path: Path) -> None:
    """Without a suffix, or with an unknown one; a name of an image is a claim, whatever is inside."""
    root = grow(tmp_path / "photos", "cat/1.png", "dog/1.png")
    for name in ("cat/scan", "cat/scan.0001"):
        (root / name).write_bytes(IMAGE)
    (root / "cat/claims.heic").write_bytes(b"nothing of the kind")
    listing = listing_of(root)
    assert {file.path for file in listing.files} >= {"cat/scan", "cat/scan.0001", "cat/claims.heic"}
    assert listing.passed_over == []


def test_an_empty_class_says_what_is_in_it(tmp_path: Path) -> None:
    """Files, and none of them an image."""
    with pytest.raises(UserError, match=r"mud is empty but for 2 sidecar files, 1 system file: add images"):
        listing_of(grow(tmp_path / "photos", "cat/1.png", "dog/1.png", "mud/Thumbs.db", "mud/1.txt", "mud/2.txt"))


def test_a_system_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the system's is one file; one of the user's is a sentence."""
    root = grow(tmp_path / "photos", "cat/1.png", "dog/1.png", "lost+found/", "dog/closed/")
    real = os.scandir

    def guarded(closed: str) -> None:
        def scandir(folder: Path) -> object:
            if Path(folder).name == closed:
                raise PermissionError
            return real(folder)

        monkeypatch.setattr(os, "scandir", scandir)

    guarded("lost+found")
    assert over(listing_of(root), "system files") == ["lost+found"]
    guarded("closed")
    with pytest.raises(UserError, match="dog/closed may not be read"):
        listing_of(root)


# ---- everything is somewhere

SHAPES = st.sampled_from(
    [
        below("train"),
        below("train", "test"),
        below("seg_train", "seg_test"),
        below("photos"),
        below("cat", "dog", inner=("train", "test")),
        ["cat/1.png", "dog/1.png"],
    ]
)
FOLDERS = st.lists(
    st.sampled_from(["train", "test", "cat", "dog", "photos", "pred", ".git", "@eaDir", "ü"]), max_size=3
)
FILES = st.sampled_from(
    ["2.png", "3.jpg", "Thumbs.db", "1.txt", "clip.mp4", "plain", ".hidden", "caf\udce9.png", "two\nlines.mp4"]
)
FURTHER = st.builds(lambda folders, name: "/".join([*folders, name]), FOLDERS, FILES)


@given(SHAPES, st.sets(FURTHER, max_size=8), st.booleans())
@settings(deadline=None, max_examples=120)
def test_every_file_is_in_exactly_one_list(
    tmp_path_factory: pytest.TempPathFactory, shape: list[str], further: set[str], filled: bool
) -> None:
    """Whatever the tree: a label or why it has none, once for each file, or a sentence."""
    root = grow(tmp_path_factory.mktemp("tree") / "photos", *shape, *further)
    if filled:  # no folder that is without an image
        grow(root, *(f"{path.rpartition('/')[0]}/1.png".lstrip("/") for path in further))
    try:
        listing = listing_of(root)
    except UserError as error:
        refused = str(error)
        event("refused")
        assert refused.isprintable()
        return
    event("listed")
    listed = [file.path for file in listing.files] + [file.path for file in listing.passed_over]
    assert sorted(map(as_unicode, listed)) == sorted(map(as_unicode, everything(root)))
    assert all(note.isprintable() for note in listing.notes)
