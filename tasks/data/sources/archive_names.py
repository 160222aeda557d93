"""The names of an archive's members, decoded by the encoding that they were written in, or refused."""

import struct
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from tasks.data.sources.file_names import is_unicode, printable
from tasks.errors import UserError, listed

UTF_8_FLAG = 0x800
UNICODE_PATH = 0x7075  # Info-ZIP's extra field: version, CRC-32 of the name, the name in UTF-8
MS_DOS = 0
SHOWN = 3
# Letters that the code pages of MS-DOS for the United States and for Western Europe have in the same place.
WESTERN = {
    byte
    for byte in range(0x80, 0x100)
    if (letter := bytes([byte]).decode("cp437")).isalpha() and bytes([byte]).decode("cp850") == letter
}


def composed(name: str) -> str:
    """Return a name with letters and accents as one character each, however it was written."""
    return unicodedata.normalize("NFC", name)


@dataclass
class MemberNames:
    """Reads the names of one archive's members, and notes what it took for granted.

    Attributes:
        archive: whose names they are.
        by_ms_dos: names that are in a code page of MS-DOS, as it seems.
        spellings: of every folder, as they are in the archive, by the one that is used.
    """

    archive: Path
    by_ms_dos: list[str] = field(default_factory=list)
    spellings: dict[str, set[str]] = field(default_factory=dict)

    def of_zip(self, member: zipfile.ZipInfo) -> str:
        """Return the name of a member of a zip, with forward slashes and composed.

        Raises:
            UserError: its encoding can't be known.
        """
        if member.flag_bits & UTF_8_FLAG:
            return self._composed(member.filename.replace("\\", "/"))
        raw = member.orig_filename.encode("cp437")
        name = _unicode_path(member.extra, raw) or _by_utf_8(raw)
        if name is None:
            name = member.filename
            if member.create_system != MS_DOS or not _is_western(raw, name):
                raise self._unknown(printable(raw.decode("utf-8", "surrogateescape")))
            self.by_ms_dos.append(name)
        return self._composed(name.replace("\\", "/"))

    def of_tar(self, name: str) -> str:
        """Return the name of a member of a tar that was read as UTF-8, composed.

        Raises:
            UserError: it isn't UTF-8.
        """
        if not is_unicode(name):
            raise self._unknown(printable(name))
        return self._composed(name)

    def notes(self) -> list[str]:
        """Return what to say of the names."""
        notes = []
        if self.by_ms_dos:
            names = listed([printable(name) for name in self.by_ms_dos], SHOWN)
            notes.append(
                f"{self.archive} has {len(self.by_ms_dos)} of its names in an encoding of MS-DOS, which are read as "
                f"{names}: pack it again with names in UTF-8 if that is wrong"
            )
        notes += [
            f"the folder {printable(name)} in {self.archive} is there in {len(spellings)} spellings of Unicode, which "
            "are joined"
            for name, spellings in sorted(self.spellings.items())
            if len(spellings) > 1
        ]
        return notes

    def _composed(self, name: str) -> str:
        folder = name.rpartition("/")[0]
        if not folder.isascii():
            self.spellings.setdefault(composed(folder), set()).add(folder)
        return composed(name)

    def _unknown(self, name: str) -> UserError:
        return UserError(
            f"{self.archive} holds '{name}', a name in an encoding that can't be known: pack it again with names in "
            "UTF-8"
        )


def _by_utf_8(raw: bytes) -> str | None:
    try:
        return raw.partition(b"\0")[0].decode("utf-8")
    except UnicodeDecodeError:
        return None


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """Return the name that Info-ZIP's extra field holds, if it is that of this name."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        content, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == UNICODE_PATH and len(content) > 5:
            (checksum,) = struct.unpack_from("<L", content, 1)
            return _by_utf_8(content[5:]) if checksum == zlib.crc32(raw) else None
    return None


def _is_western(raw: bytes, name: str) -> bool:
    """Return whether a name looks like words of Western Europe: other encodings mix capitals and small letters."""
    words = "".join(letter if letter.isalpha() else " " for letter in name).split()
    plain = all(word in {word.lower(), word.upper(), word.capitalize()} for word in words if not word.isascii())
    return plain and all(byte < 0x80 or byte in WESTERN for byte in raw)
