"""A .zip or .tar archive, unpacked within limits into a folder that is named after its content."""

import errno
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tasks.data.sources.archive_names import MemberNames
from tasks.data.sources.file_names import path_problem, printable
from tasks.errors import UserError
from tasks.files import atomic_path, read_json, sha256_of, write_json
from tasks.progress import counting

CHUNK = 1 << 20
FILES, NOTES = "files", "notes.json"
VERSION = 2  # raised when members are unpacked otherwise than before
DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError,
    ValueError, RuntimeError, OverflowError,
)  # fmt: skip
CLASHES = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}


@dataclass(frozen=True)
class Unpacked:
    """An archive as a folder.

    Attributes:
        folder: that has all of its members.
        notes: how their names were understood.
    """

    folder: Path
    notes: list[str]


def unpack(archive: Path, work: Path, max_files: int, max_bytes: int) -> Unpacked:
    """Unpack an archive below ``work``, unless that was done before.

    Raises:
        UserError: the archive is damaged or encrypted, holds links, devices, paths that leave it, names in an unknown
            encoding, or more than the limits allow; nothing of it is left then.
    """
    target = work / f"{sha256_of(archive)}-{VERSION}"
    if not target.is_dir():
        with atomic_path(target) as temporary:
            (temporary / FILES).mkdir(parents=True)
            names = MemberNames(archive)
            with _explaining_errors(archive), counting(f"unpacking {archive.name}", None, of_bytes=True) as advance:
                _unpack(archive, _MemberWriter(temporary / FILES, archive, max_files, max_bytes, advance), names)
            write_json(temporary / NOTES, names.notes())
    return Unpacked(target / FILES, read_json(target / NOTES))


class _MemberWriter:
    """Writes members of an archive into a folder, as long as they stay inside it and within the limits."""

    def __init__(
        self, root: Path, archive: Path, max_files: int, max_bytes: int, advance: Callable[[int], None]
    ) -> None:
        self._root, self._archive, self._advance = root, archive, advance
        self._max_files, self._max_bytes = max_files, max_bytes
        self._files = self._bytes = 0

    def folder(self, name: str) -> None:
        """Make a folder."""
        if name.strip("/.") or ".." in name:
            self._inside(name).mkdir(parents=True, exist_ok=True)

    def file(self, name: str, content: IO[bytes]) -> None:
        """Write a file."""
        target = self._inside(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as stream:
            while chunk := content.read(CHUNK):
                self._bytes += len(chunk)
                if self._bytes > self._max_bytes:
                    raise UserError(
                        f"{self._archive} unpacks to more than {self._max_bytes:,} bytes: raise "
                        "data.max_unpacked_bytes if it may"
                    )
                stream.write(chunk)
                self._advance(len(chunk))

    def refuse(self, name: str, what: str) -> None:
        """Refuse a member.

        Raises:
            UserError: always.
        """
        raise UserError(f"{self._archive} holds {name!r}, which is {what}: make it again of plain files and folders")

    def _inside(self, name: str) -> Path:
        self._files += 1
        if self._files > self._max_files:
            raise UserError(
                f"{self._archive} holds more than {self._max_files:,} files: raise data.max_files if it may"
            )
        if problem := path_problem(name):
            raise UserError(f"{self._archive} holds {name!r}, which {problem}: make the archive again")
        return self._root / name


def _unpack(archive: Path, writer: _MemberWriter, names: MemberNames) -> None:
    if archive.name.lower().endswith(".zip"):
        _unpack_zip(archive, writer, names)
    else:
        _unpack_tar(archive, writer, names)


def _unpack_zip(archive: Path, writer: _MemberWriter, names: MemberNames) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name, kind = names.of_zip(member), stat.S_IFMT(member.external_attr >> 16)
            if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
                writer.refuse(name, "a link" if kind == stat.S_IFLNK else "a device")
            if member.flag_bits & 1:
                writer.refuse(name, "encrypted")
            if name.endswith("/"):
                writer.folder(name)
            else:
                with opened.open(member) as content:
                    writer.file(name, content)


def _unpack_tar(archive: Path, writer: _MemberWriter, names: MemberNames) -> None:
    with tarfile.open(archive, encoding="utf-8", errors="surrogateescape") as opened:
        for member in opened:
            name = names.of_tar(member.name)
            if member.isdir():
                writer.folder(name)
            elif member.isreg() and (content := opened.extractfile(member)) is not None:
                with content:
                    writer.file(name, content)
            else:
                writer.refuse(name, "a link" if member.issym() or member.islnk() else "a device")
        _check_end(opened)


def _check_end(opened: tarfile.TarFile) -> None:
    """Raise unless the archive's end mark follows: the library takes a damaged header for the end."""
    if opened.fileobj is None:
        return
    opened.fileobj.seek(opened.offset)
    if opened.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")


@contextmanager
def _explaining_errors(archive: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:  # of a name that a zip says is UTF-8
        name = printable(error.object.decode("utf-8", "surrogateescape"))
        raise UserError(
            f"{archive} holds '{name}', a name that is no UTF-8 though it says so: pack it again with names in UTF-8"
        ) from error
    except OSError as error:
        if error.errno in CLASHES:
            name = printable(Path(str(error.filename)).name)
            raise UserError(
                f"{archive} holds {name!r} twice, or a name that this disk can't take: make the archive again"
            ) from error
        impossible_place = error.errno == errno.EINVAL and error.filename is None
        if error.errno is not None and not impossible_place:  # of the disk; damaged compression has no number
            raise
        raise _damaged(archive) from error
    except DAMAGE as error:
        raise _damaged(archive) from error


def _damaged(archive: Path) -> UserError:
    return UserError(f"{archive} is damaged, or no archive of the kind that its name says: fetch or make it again")
