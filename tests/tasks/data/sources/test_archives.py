"""Archives: unpacked once, within limits, and never outside their folder."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.data.sources import SourceListing, find
from tasks.errors import UserError
from tasks.params import DataParams

CLASSES = {"cat/1.png": b"one", "cat/deep/2.png": b"two", "dog/1.png": b"three"}
KINDS = ("photos.zip", "photos.tar", "photos.tar.gz", "photos.tgz", "photos.tar.bz2", "photos.tar.xz")


def pack(archive: Path, content: Mapping[str, bytes]) -> Path:
    """Write files into an archive of the kind that its name says."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, data in content.items():
                opened.writestr(name, data)
        return archive
    modes: dict[str, Any] = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz", ".tar": "w"}
    with tarfile.open(archive, modes[archive.suffix]) as opened_tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            opened_tar.addfile(member, io.BytesIO(data))
    return archive


def listing_of(archive: Path, **limits: int) -> SourceListing:
    """Return what an archive holds, unpacked below the folder ``work`` beside it."""
    return find(DataParams(source="archive", path=str(archive), **limits), archive.parent / "work")


def refusal(archive: Path, **limits: int) -> str:
    """Return the sentence that an archive is refused with; nothing of it may be left, inside or out."""
    before = set(archive.parent.rglob("*"))
    with pytest.raises(UserError) as caught:
        listing_of(archive, **limits)
    left = set(archive.parent.rglob("*")) - before
    assert left <= {archive.parent / "work"}
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("top", ["", "photos-v2/"])
def test_a_folder_a_class(tmp_path: Path, kind: str, top: str) -> None:
    """The classes may be at the top or below a single folder; the files have their content."""
    listing = listing_of(pack(tmp_path / kind, {f"{top}{name}": data for name, data in CLASSES.items()}))
    assert [(file.path, file.label) for file in listing.files] == [
        ("cat/1.png", "cat"),
        ("cat/deep/2.png", "cat"),
        ("dog/1.png", "dog"),
    ]
    assert {name: (listing.root / name).read_bytes() for name in CLASSES} == CLASSES


def test_splits_and_what_a_mac_leaves(tmp_path: Path) -> None:
    """Folders of splits are not taken for a top folder, and resource forks not for a class."""
    content = {f"train/{name}": data for name, data in CLASSES.items()} | {"__MACOSX/train/cat/._1.png": b""}
    assert {file.split for file in listing_of(pack(tmp_path / "a.zip", content)).files} == {"train"}
    below = {f"set/{name}" if name[0] != "_" else name: data for name, data in content.items()}
    assert {file.split for file in listing_of(pack(tmp_path / "b.zip", below)).files} == {"train"}


@pytest.mark.parametrize("name", ["manifest.csv", "labels.csv", "top/manifest.csv"])
def test_a_manifest_at_the_top(tmp_path: Path, name: str) -> None:
    """A manifest in the archive says what its files are."""
    above = name.rpartition("/")[0] + "/" if "/" in name else ""
    images = {f"{above}images/1.png": b"1", f"{above}images/2.png": b"2"}
    table = b"path,label\nimages/1.png,yes\nimages/2.png,no\n"
    listing = listing_of(pack(tmp_path / "a.zip", {name: table, **images}))
    assert [(file.path, file.label) for file in listing.files] == [("images/1.png", "yes"), ("images/2.png", "no")]
    assert (listing.root / "images/1.png").read_bytes() == b"1"


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    """The same content is not unpacked again, another one is, beside the first."""
    archive = pack(tmp_path / "a.tar.gz", CLASSES)
    first = listing_of(archive)
    (first.root / "cat/1.png").write_bytes(b"touched")
    assert listing_of(archive).root == first.root
    assert (first.root / "cat/1.png").read_bytes() == b"touched"
    second = listing_of(pack(tmp_path / "a.tar.gz", CLASSES | {"dog/2.png": b"four"}))
    assert len(second.files) == 4
    assert second.root != first.root


@pytest.mark.parametrize("kind", ["a.zip", "a.tar"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../outside.png", "leaves the folder by '..'"),
        ("cat/../../outside.png", "leaves the folder by '..'"),
        ("/tmp/outside.png", "is absolute"),  # noqa: S108
    ],
)
def test_members_that_leave_the_folder(tmp_path: Path, kind: str, name: str, expected: str) -> None:
    """Nothing is written outside, and the member is named."""
    sentence = refusal(pack(tmp_path / kind, {**CLASSES, name: b"out"}))
    assert expected in sentence
    assert "outside.png" in sentence


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.FIFOTYPE, "a device"),
    ],
)
def test_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes, expected: str) -> None:
    """Only files and folders are unpacked."""
    archive = pack(tmp_path / "a.tar", CLASSES)
    with tarfile.open(archive, "a") as opened:
        member = tarfile.TarInfo("cat/odd.png")
        member.type, member.linkname = kind, "/etc/passwd"
        opened.addfile(member)
    assert f"'cat/odd.png', which is {expected}" in refusal(archive)


def test_links_in_a_zip(tmp_path: Path) -> None:
    """A link in a zip is an ordinary member with another mode."""
    archive = pack(tmp_path / "a.zip", CLASSES)
    with zipfile.ZipFile(archive, "a") as opened:
        member = zipfile.ZipInfo("cat/odd.png")
        member.external_attr = 0o120777 << 16
        opened.writestr(member, "/etc/passwd")
    assert "'cat/odd.png', which is a link" in refusal(archive)


@pytest.mark.parametrize("kind", KINDS)
def test_limits(tmp_path: Path, kind: str) -> None:
    """More files or more bytes than allowed: the sentence names the key; exactly as many are fine."""
    archive = pack(tmp_path / kind, CLASSES)
    assert "more than 2 files: raise data.max_files" in refusal(archive, max_files=2)
    assert "more than 10 bytes: raise data.max_unpacked_bytes" in refusal(archive, max_unpacked_bytes=10)
    assert len(listing_of(archive, max_files=3, max_unpacked_bytes=11).files) == 3


def test_sizes_in_headers_are_not_believed(tmp_path: Path) -> None:
    """A zip whose directory understates what its members unpack to is stopped, or is damaged."""
    archive = pack(tmp_path / "bomb.zip", {"cat/1.png": bytes(5_000_000), "dog/1.png": b"x"})
    content = archive.read_bytes()
    archive.write_bytes(content.replace((5_000_000).to_bytes(4, "little"), (5).to_bytes(4, "little")))
    sentence = refusal(archive, max_unpacked_bytes=1_000_000)
    assert "max_unpacked_bytes" in sentence or "damaged" in sentence


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[: len(data) * 4 // 5],
        lambda _: b"no archive",
        lambda _: b"",
    ],
    ids=["half", "without its end", "something else", "empty"],
)
def test_damaged_archives(tmp_path: Path, kind: str, harm: Callable[[bytes], bytes]) -> None:
    """Whatever is missing, it is one sentence with the archive's name."""
    archive = pack(tmp_path / kind, {f"{label}/{i}.png": bytes(900) for label in ("cat", "dog") for i in range(20)})
    archive.write_bytes(harm(archive.read_bytes()))
    sentence = refusal(archive)
    assert archive.name in sentence
    assert "damaged" in sentence


def test_a_damaged_header_is_not_the_end(tmp_path: Path) -> None:
    """A tar whose second header is broken is refused, instead of being cut short there."""
    archive = pack(tmp_path / "a.tar", CLASSES)
    content = bytearray(archive.read_bytes())
    content[1024 + 148] ^= 0xFF  # the checksum of the second header
    archive.write_bytes(bytes(content))
    assert "damaged" in refusal(archive)


def test_encrypted_and_repeated_members(tmp_path: Path) -> None:
    """What needs a password, and a name that is there twice."""
    archive = pack(tmp_path / "a.zip", CLASSES)
    content = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    archive.write_bytes(bytes(content))
    assert "encrypted" in refusal(archive)
    with tarfile.open(pack(tmp_path / "b.tar", CLASSES), "a") as opened:
        opened.addfile(tarfile.TarInfo("cat/1.png"))
    assert "'1.png' twice" in refusal(tmp_path / "b.tar")


def test_a_directory_that_points_before_the_file_is_damage(tmp_path: Path) -> None:
    """The end of a zip says where its directory is; too far along, and members lie before the file."""
    archive = pack(tmp_path / "photos.zip", CLASSES)
    content = bytearray(archive.read_bytes())
    place = int.from_bytes(content[-6:-2], "little") + 1000
    content[-6:-2] = place.to_bytes(4, "little")
    archive.write_bytes(bytes(content))
    assert "is damaged" in refusal(archive)


@given(st.sampled_from(KINDS), st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_is_a_sentence(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    """Bytes changed anywhere: the files are found, or it is one sentence."""
    archive = pack(tmp_path / kind, CLASSES)
    content = bytearray(archive.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    archive.write_bytes(bytes(content))
    with suppress(UserError):
        assert len(listing_of(archive).files) >= 2
