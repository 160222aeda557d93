"""Names of an archive's members in other encodings: read rightly, or refused by name."""

import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data.sources import SourceListing, find
from tasks.errors import UserError
from tasks.params import DataParams

UNIX, MS_DOS = 3, 0
PLAIN = (b"ok/1.png", b"ok/2.png")


def no_extra(_: bytes) -> bytes:
    """Return no extra field."""
    return b""


def unicode_path(name: str, raw: bytes) -> bytes:
    """Return Info-ZIP's extra field for a name in another encoding."""
    content = b"\x01" + struct.pack("<L", zlib.crc32(raw)) + name.encode()
    return struct.pack("<HH", 0x7075, len(content)) + content


def zipped(
    archive: Path, names: Sequence[bytes], system: int = UNIX, extra: Callable[[bytes], bytes] = no_extra
) -> Path:
    """Write a zip whose names are these bytes, without the flag that says UTF-8."""
    stand_ins = [f"{number:0{len(name)}}" for number, name in enumerate(names)]
    with zipfile.ZipFile(archive, "w") as opened:
        for name, stand_in in zip(names, stand_ins, strict=True):
            member = zipfile.ZipInfo(stand_in)
            member.create_system, member.extra = system, extra(name)
            opened.writestr(member, b"\0")
    content = archive.read_bytes()
    for name, stand_in in zip(names, stand_ins, strict=True):
        for header, size in ((b"PK\x03\x04", 30), (b"PK\x01\x02", 46)):
            place = content.index(stand_in.encode(), content.index(header) + size)
            while content[place - size : place - size + 4] != header:
                place = content.index(stand_in.encode(), place + 1)
            content = content[:place] + name + content[place + len(name) :]
    archive.write_bytes(content)
    return archive


def listing_of(archive: Path) -> SourceListing:
    """Return what an archive holds; all of it must be there."""
    listing = find(DataParams(source="archive", path=str(archive)), archive.parent / "work")
    assert all((listing.root / file.path).is_file() for file in listing.files)
    return listing


def decomposed(name: str) -> bytes:
    """Return a name as a Mac writes it."""
    return unicodedata.normalize("NFD", name).encode()


@pytest.mark.parametrize("system", [UNIX, MS_DOS])
def test_utf_8_without_the_flag(tmp_path: Path, system: int) -> None:
    """As a Mac packs it: decomposed, and nothing says what it is; the label is composed."""
    names = (decomposed("Müll/größer.png"), decomposed("Müll/kleiner.png"), *PLAIN)
    listing = listing_of(zipped(tmp_path / "a.zip", names, system))
    assert [(file.path, file.label) for file in listing.files][:2] == [
        ("Müll/größer.png", "Müll"),
        ("Müll/kleiner.png", "Müll"),
    ]


def test_two_spellings_are_one_class(tmp_path: Path) -> None:
    """Composed and decomposed folders are joined, and it is said, whenever the archive is read; files clash."""
    archive = zipped(tmp_path / "a.zip", (decomposed("Müll/1.png"), "Müll/2.png".encode(), *PLAIN))
    for _ in range(2):
        listing = listing_of(archive)
        assert {file.label for file in listing.files} == {"Müll", "ok"}
        assert any("the folder Müll" in note and "2 spellings" in note for note in listing.notes)
    with pytest.raises(UserError, match=r"'1\.png' twice"):
        listing_of(zipped(tmp_path / "b.zip", (decomposed("Müll/1.png"), "Müll/1.png".encode(), *PLAIN)))


def test_a_name_beside_the_name(tmp_path: Path) -> None:
    """Info-ZIP's field says it in UTF-8; one that belongs to another name is not believed."""
    raw = "Кот/1.png".encode("cp866")
    listing = listing_of(zipped(tmp_path / "a.zip", (raw, *PLAIN), MS_DOS, lambda name: unicode_path("Кот/1.png", name)
                            if name == raw else b""))  # fmt: skip
    assert {file.label for file in listing.files} == {"Кот", "ok"}
    with pytest.raises(UserError, match="encoding that can't be known"):
        listing_of(zipped(tmp_path / "b.zip", (raw, *PLAIN), MS_DOS, lambda _: unicode_path("Кот/1.png", b"else")))


@pytest.mark.parametrize("name", ["Müll/1.png", "CAFÉ/1.png", "naïve été/1.png"])
def test_names_of_ms_dos_are_said(tmp_path: Path, name: str) -> None:
    """What looks like words of Western Europe is taken for them, and shown."""
    listing = listing_of(zipped(tmp_path / "a.zip", (name.encode("cp850"), *PLAIN), MS_DOS))
    assert name in [file.path for file in listing.files]
    assert any(name in note and "MS-DOS" in note for note in listing.notes)


@pytest.mark.parametrize(
    ("name", "encoding", "system"),
    [
        ("Müll/1.png", "latin-1", UNIX),
        ("Müll/1.png", "latin-1", MS_DOS),
        ("Müll/1.png", "cp850", UNIX),
        ("Кот/1.png", "cp866", MS_DOS),
        ("КОТ/1.png", "cp866", MS_DOS),
        ("猫/1.png", "cp932", MS_DOS),
        ("ネコ/1.png", "cp932", MS_DOS),
        ("고양이/1.png", "cp949", MS_DOS),
        ("狗和猫/1.png", "gbk", MS_DOS),
    ],
)
def test_unknown_encodings_are_refused_by_name(tmp_path: Path, name: str, encoding: str, system: int) -> None:
    """Nothing is guessed; the sentence shows the bytes and says what to do."""
    with pytest.raises(UserError, match=r"holds '.*\\x.*1\.png'.*pack it again with names in UTF-8") as caught:
        listing_of(zipped(tmp_path / "a.zip", (name.encode(encoding), *PLAIN), system))
    assert str(caught.value).isprintable()
    assert not any(tmp_path.glob("work/*"))


def test_a_flag_that_lies(tmp_path: Path) -> None:
    """The zip says UTF-8, the bytes are none."""
    archive = zipped(tmp_path / "a.zip", ("Müll/1.png".encode("latin-1"), *PLAIN))
    content = bytearray(archive.read_bytes())
    for header, offset in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        content[content.index(header) + offset] |= 8
    archive.write_bytes(content)
    with pytest.raises(UserError, match=r"holds 'M\\xfcll/1\.png', a name that is no UTF-8"):
        listing_of(archive)


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_in_a_tar(tmp_path: Path, kind: int, encoding: str) -> None:
    """UTF-8 is composed; anything else is refused by name, but for the format that is always UTF-8."""
    archive = tmp_path / "a.tar"
    name = decomposed("Müll/1.png").decode() if encoding == "utf-8" else "Müll/1.png"
    with tarfile.open(archive, "w", format=kind, encoding=encoding) as opened:
        for member in (name, "ok/1.png"):
            facts = tarfile.TarInfo(member)
            facts.size = 1
            opened.addfile(facts, BytesIO(b"\0"))
    if encoding == "utf-8" or kind == tarfile.PAX_FORMAT:
        assert {file.label for file in listing_of(archive).files} == {"Müll", "ok"}
        return
    with pytest.raises(UserError, match=r"holds 'M\\xfcll/1\.png'"):
        listing_of(archive)


def test_a_table_that_names_files_as_a_mac_does(tmp_path: Path) -> None:
    """The rows are found, whichever spelling they and the members have."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr("manifest.csv", decomposed("path,label\nMüll/1.png,a\nÖl/1.png,b\n"))
        opened.writestr("Müll/1.png", b"\0")
        opened.writestr(decomposed("Öl/1.png").decode(), b"\0")
    assert len(listing_of(tmp_path / "a.zip").files) == 2


def test_everything_in_an_archive_is_somewhere(tmp_path: Path) -> None:
    """What packers add, and what lies beside the folder with the classes, is counted."""
    names = (b"top/cat/1.png", b"top/dog/1.png", b"top/cat/Thumbs.db", b"__MACOSX/top/cat/._1.png", b"README")
    listing = listing_of(zipped(tmp_path / "a.zip", names))
    assert len(listing.files) + len(listing.passed_over) == len(names)
    assert {file.kind for file in listing.passed_over} == {"system files", "sidecar files"}


@given(st.text(st.characters(categories=["L", "N"], max_codepoint=0x17F), min_size=1, max_size=8))
@settings(deadline=None, max_examples=60)
def test_any_word_in_utf_8_comes_back(tmp_path_factory: pytest.TempPathFactory, word: str) -> None:
    """Composed, whatever it is."""
    names = (f"x{word}/1.png".encode(), *PLAIN)
    listing = listing_of(zipped(tmp_path_factory.mktemp("zip") / "a.zip", names))
    assert unicodedata.normalize("NFC", f"x{word}") in {file.label for file in listing.files}
