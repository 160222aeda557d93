"""A .zip or .tar archive, unpacked within limits into a folder that is named after its content."""

import errno
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tasks.data.sources import tables
from tasks.data.sources.folders import subfolders
from tasks.data.sources.listing import SPLIT_FOLDERS, escape
from tasks.errors import UserError
from tasks.files import replacing, sha256_of

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
CHUNK = 1 << 20
IGNORED = "__MACOSX"
DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError,
    ValueError, RuntimeError, OverflowError,
)  # fmt: skip
CLASHES = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}


def is_archive(path: Path) -> bool:
    """Return whether a file's name is that of an archive that can be unpacked."""
    return path.name.lower().endswith(SUFFIXES)


def unpacked(archive: Path, work: Path, max_files: int, max_bytes: int) -> Path:
    """Unpack an archive below ``work``, unless that was done before, and return the folder its images lie in.

    Raises:
        UserError: the archive is damaged or encrypted, holds links, devices or paths that leave it, or more than the
            limits allow; nothing of it is left then.
    """
    target = work / sha256_of(archive)
    if not target.is_dir():
        with replacing(target) as temporary:
            temporary.mkdir()
            with _one_sentence(archive):
                _unpack(archive, _Place(temporary, archive, max_files, max_bytes))
    return _top(target)


class _Place:
    """A folder that takes in members of an archive, as long as they stay inside it and within the limits."""

    def __init__(self, root: Path, archive: Path, max_files: int, max_bytes: int) -> None:
        self._root, self._archive = root, archive
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

    def refuse(self, name: str, what: str) -> None:
        """Refuse a member.

        Raises:
            UserError: always.
        """
        raise UserError(f"{self._archive} holds {name!a}, which is {what}: make it again of plain files and folders")

    def _inside(self, name: str) -> Path:
        self._files += 1
        if self._files > self._max_files:
            raise UserError(
                f"{self._archive} holds more than {self._max_files:,} files: raise data.max_files if it may"
            )
        if problem := escape(name):
            raise UserError(f"{self._archive} holds {name!a}, which {problem}: make the archive again")
        return self._root / name


def _unpack(archive: Path, place: _Place) -> None:
    if archive.name.lower().endswith(".zip"):
        _unpack_zip(archive, place)
    else:
        _unpack_tar(archive, place)


def _unpack_zip(archive: Path, place: _Place) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name, kind = member.filename.replace("\\", "/"), stat.S_IFMT(member.external_attr >> 16)
            if name.split("/")[0] == IGNORED:
                continue
            if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
                place.refuse(name, "a link" if kind == stat.S_IFLNK else "a device")
            if member.flag_bits & 1:
                place.refuse(name, "encrypted")
            if name.endswith("/"):
                place.folder(name)
            else:
                with opened.open(member) as content:
                    place.file(name, content)


def _unpack_tar(archive: Path, place: _Place) -> None:
    with tarfile.open(archive) as opened:
        for member in opened:
            if member.isdir():
                place.folder(member.name)
            elif member.isreg() and (content := opened.extractfile(member)) is not None:
                with content:
                    place.file(member.name, content)
            else:
                place.refuse(member.name, "a link" if member.issym() or member.islnk() else "a device")
        _must_end_here(opened)


def _must_end_here(opened: tarfile.TarFile) -> None:
    """Raise unless the archive's end mark follows: the library takes a damaged header for the end."""
    if opened.fileobj is None:
        return
    opened.fileobj.seek(opened.offset)
    if opened.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")


@contextmanager
def _one_sentence(archive: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in CLASHES:
            raise UserError(
                f"{archive} holds {Path(str(error.filename)).name!a} twice, or a name that this disk can't take: make "
                "the archive again"
            ) from error
        impossible_place = error.errno == errno.EINVAL and error.filename is None
        if error.errno is not None and not impossible_place:  # of the disk; damaged compression has no number
            raise
        raise _damaged(archive) from error
    except DAMAGE as error:
        raise _damaged(archive) from error


def _damaged(archive: Path) -> UserError:
    return UserError(f"{archive} is damaged, or no archive of the kind that its name says: fetch or make it again")


def _top(folder: Path) -> Path:
    """Return the folder that holds the classes or the manifest: this one, or the single folder in it."""
    if tables.at_top(folder):
        return folder
    inside = [path for path in subfolders(folder) if path.name != IGNORED]
    if len(inside) != 1 or inside[0].name.lower() in SPLIT_FOLDERS:
        return folder
    single = inside[0]
    return single if tables.at_top(single) or subfolders(single) else folder
