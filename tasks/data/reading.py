"""One image file: checked against the limits (``file_access``), opened in full, and decoded (``decoding``)."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from tasks.arrays import Pixels
from tasks.data import file_access, heif
from tasks.data.decoding import Decoded, decode, formats, is_grey_mode
from tasks.data.image_facts import ImageFacts
from tasks.errors import reason_of
from tasks.params import DataParams

Known = Callable[[str], tuple[ImageFacts, Pixels] | None]  # what was made earlier of a file, by its SHA-256


def is_grey(root: Path, name: str, params: DataParams, links_to: Sequence[Path] = ()) -> bool | None:
    """Return whether a file's header says grey, or nothing when it isn't an image that may be read."""
    try:
        if file_access.access_problem(root, name, params, links_to):
            return None
        with Image.open(root / name, formats=formats()) as image:
            return is_grey_mode(image.mode)
    except Exception:
        return None


def _nothing_known(_: str) -> tuple[ImageFacts, Pixels] | None:
    return None


def read(
    root: Path,
    name: str,
    params: DataParams,
    channels: int,
    known: Known = _nothing_known,
    links_to: Sequence[Path] = (),
) -> Decoded:
    """Open a file in full and bring it to the working size.

    Args:
        root: the folder that no file may lie outside of.
        name: of the file, relative to it.
        params: working size and limits.
        channels: of the pixels.
        known: returns what was made earlier of a file with this SHA-256, if it was.
        links_to: folders outside of ``root`` that links may lead to, such as DVC's cache.
    """
    path = root / name
    try:
        refused = file_access.name_problem(name) or file_access.access_problem(root, name, params, links_to)
        if refused:
            return refused, None
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        earlier = known(digest)
        if earlier is not None and earlier[0].width * earlier[0].height <= params.max_pixels:
            return earlier
        return decode(content, digest, params, channels)
    except UnidentifiedImageError:  # its own words name an object in memory, different in every run
        problem = f"unreadable: is {_instead(path)}"
        return ImageFacts(problem=problem, kind="unreadable"), None
    except Exception as error:  # whatever a damaged file makes a decoder raise
        problem = f"unreadable: {reason_of(error).replace(str(path), name)}"
        return ImageFacts(problem=problem, kind="unreadable"), None


def _instead(path: Path) -> str:
    """Return what a file is that is in none of the formats."""
    with path.open("rb") as stream:
        start = stream.read(heif.HEADER)
    if heif.is_heif(start) and not heif.is_readable():
        return heif.NEEDED
    return f"in none of the formats that are read ({', '.join(formats())})"
