"""One image file: checked against the limits, opened in full, brought to the working size and channels.

How each mode becomes pixels:

- HEIC and HEIF need the extra ``heic``: see ``tasks.data.heif``.
- Photographs are turned the way their EXIF orientation says.
- 8-bit grey (``1``, ``L``) and colour (``P``, ``RGB``, ``CMYK``, ``YCbCr``, ...) are taken as they are.
- Alpha (``LA``, ``PA``, ``RGBA``, a transparent palette colour) is composited over ``data.background`` for one and
  three channels, and is the last of two and four channels; an image without it is opaque.
- Grey beyond 8 bits (``I;16``, ``I``) and floating point (``F``) become 8 bits by the range of values that the whole
  set has, one range for integers and one for floating point: see ``tasks.data.grey_ranges``.
- Of colour with 16 bits a channel, Pillow gives the upper 8.
- Of several pages or frames, the first is taken.
"""

import hashlib
import io
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from tasks.data import heif
from tasks.data.grey_ranges import Extent, extent
from tasks.params import DataParams

# The limit is ours (data.max_pixels), checked before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

# By content, not by name. Formats that start other programs (EPS) or aren't pictures (PDF, FITS) are not among them.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
WITHOUT_ALPHA = {1: "L", 3: "RGB"}
WITH_ALPHA = {2: "LA", 4: "RGBA"}
LINKS_OUTSIDE = "links to outside the data folder, which 'follow_links: true' under 'data' allows"
GREY_MODES = {"1", "L", "LA"}

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ReadImage:
    """What was seen of a file.

    Attributes:
        width, height: upright, in pixels.
        mode, format: Pillow's names, of the file itself.
        animated: it has more frames than the one that is taken.
        size: of the file in bytes.
        sha256: of the file.
        problem: why the file can't be used; empty when it can.
        kind: of the problem, to count by.
        frames: or pages, of which the first is taken.
        halved: it has 16 bits a channel, of which the upper 8 are taken.
    """

    width: int = 0
    height: int = 0
    mode: str = ""
    format: str = ""
    animated: bool = False
    size: int = 0
    sha256: str = ""
    problem: str = ""
    kind: str = ""
    frames: int = 1
    halved: bool = False


@dataclass(frozen=True)
class Deep:
    """Grey beyond 8 bits at the working size, before its range is known.

    Attributes:
        plane: float32 of shape (size, size).
        extent: how far the values of the whole image go.
        integer: whether the file holds integers.
    """

    plane: Plane
    extent: Extent
    integer: bool

    @property
    def kind(self) -> str:
        """Under which the range of a set is known: ``integer`` or ``float``."""
        return "integer" if self.integer else "float"


# What was seen of a file, and its pixels: uint8 of shape (size, size, channels), or Deep; nothing if it can't be used.
Read = tuple[ReadImage, Pixels | Deep | None]
Known = Callable[[str], tuple[ReadImage, Pixels] | None]


@cache
def _formats() -> tuple[str, ...]:
    """Return those of ``FORMATS`` that this Pillow can read, which looks only once all its plugins are loaded; HEIF."""
    Image.init()
    more = (heif.FORMAT,) if heif.is_readable() else ()
    return (*(name for name in FORMATS if name in Image.OPEN), *more)


def is_grey(root: Path, name: str, params: DataParams, links_to: Sequence[Path] = ()) -> bool | None:
    """Return whether a file's header says grey, or nothing when it isn't an image that may be read."""
    try:
        if _refused(root, name, params, links_to):
            return None
        with Image.open(root / name, formats=_formats()) as image:
            return is_grey_mode(image.mode)
    except Exception:
        return None


def is_grey_mode(mode: str) -> bool:
    """Return whether one channel holds all that a mode can show."""
    return mode in GREY_MODES or is_deep_mode(mode)


def is_deep_mode(mode: str) -> bool:
    """Return whether a mode holds more than 8 bits of grey."""
    return mode in {"I", "F"} or mode.startswith("I;16")


def _nothing_known(_: str) -> tuple[ReadImage, Pixels] | None:
    return None


def read(
    root: Path,
    name: str,
    params: DataParams,
    channels: int,
    known: Known = _nothing_known,
    links_to: Sequence[Path] = (),
) -> Read:
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
        refused = _unnameable(name) or _refused(root, name, params, links_to)
        if refused:
            return refused, None
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        earlier = known(digest)
        if earlier is not None and earlier[0].width * earlier[0].height <= params.max_pixels:
            return earlier
        return _decoded(content, digest, params, channels)
    except UnidentifiedImageError:  # its own words name an object in memory, different in every run
        problem = f"unreadable: is {_instead(path)}"
        return ReadImage(problem=problem, kind="unreadable"), None
    except Exception as error:  # whatever a damaged file makes a decoder raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return ReadImage(problem=f"unreadable: {reason.replace(str(path), name)}", kind="unreadable"), None


def _unnameable(name: str) -> ReadImage | None:
    """Return why a file isn't read whose name nothing could keep, if it is one."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return ReadImage(problem="unreadable: its name is no Unicode: rename it", kind="unreadable")
    return None


def _instead(path: Path) -> str:
    """Return what a file is that is in none of the formats."""
    with path.open("rb") as stream:
        start = stream.read(heif.HEADER)
    if heif.is_heif(start) and not heif.is_readable():
        return heif.NEEDED
    return f"in none of the formats that are read ({', '.join(_formats())})"


def _refused(root: Path, name: str, params: DataParams, links_to: Sequence[Path]) -> ReadImage | None:
    """Return why a file isn't read, if it isn't."""
    path = root / name
    if leads_outside(root, name, links_to):
        is_link = Path(os.path.normpath(path)).is_relative_to(os.path.normpath(root))
        problem = LINKS_OUTSIDE if is_link else "lies outside the data folder"
        return ReadImage(problem=problem, kind="outside")
    try:
        facts = path.stat()
    except FileNotFoundError:
        gone = "it links to a file that is gone" if path.is_symlink() else "there is no such file"
        return ReadImage(problem=gone, kind="missing")
    if not stat.S_ISREG(facts.st_mode):
        return ReadImage(problem="there is no such file", kind="missing")
    if facts.st_size == 0:
        return ReadImage(problem="unreadable: the file is empty", kind="unreadable")
    if facts.st_size > params.max_bytes:
        problem = f"{facts.st_size} bytes are more than data.max_bytes ({params.max_bytes})"
        return ReadImage(problem=problem, kind="too large")
    return None


def leads_outside(root: Path, name: str, links_to: Sequence[Path] = ()) -> bool:
    """Return whether a file is neither below ``root``, nor behind a link below a folder that links may lead to."""
    root = root.absolute()
    path = root / name
    if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(root)):
        return True
    is_link = path.is_symlink() or path.name == ".."
    where = path.resolve() if is_link else _resolved(path.parent) / path.name
    return not any(where.is_relative_to(_resolved(folder)) for folder in (root, *links_to))


@lru_cache(maxsize=4096)
def _resolved(folder: Path) -> Path:
    """Return where a folder really is, which is looked up once."""
    return folder.resolve()


def _decoded(content: bytes, digest: str, params: DataParams, channels: int) -> Read:
    with Image.open(io.BytesIO(content), formats=_formats()) as image:
        width, height = image.size
        if width * height > params.max_pixels:
            problem = f"{width}x{height} pixels are more than data.max_pixels ({params.max_pixels})"
            return ReadImage(problem=problem, kind="too large"), None
        mode, animated, halved = image.mode, bool(getattr(image, "is_animated", False)), _is_halved(image)
        frames = _frames(image) if animated else 1
        image.load()
        if image.format == "TIFF" or any(may in str(key).lower() for key in image.info for may in ("exif", "xmp")):
            ImageOps.exif_transpose(image, in_place=True)
        seen = ReadImage(*image.size, mode, image.format or "", animated, len(content), digest, "", "", frames, halved)
        if is_deep_mode(mode):
            return seen, _deep(image, params.size)
        return seen, _pixels(image, params.size, channels, params.background)


def _frames(image: Image.Image) -> int:
    """Return the number of frames or pages of an image that has several."""
    try:
        return int(getattr(image, "n_frames", 2))
    except Exception:  # whatever damage behind the first makes a decoder raise
        image.seek(0)
        return 2


def _is_halved(image: Image.Image) -> bool:
    """Return whether an image that isn't loaded has colours or alpha of 16 bits, of which Pillow reads the upper 8."""
    tiles: Any = getattr(image, "tile", None)
    if not tiles or is_deep_mode(image.mode):
        return False
    asked = tiles[0][3]  # of the decoder: the mode in the file, and behind it, for PPM, the largest value
    if image.format == "PPM":
        return isinstance(asked, tuple) and asked[-1] > 255
    return image.format in {"PNG", "TIFF"} and ";16" in str(asked)


def _deep(image: Image.Image, size: int) -> Deep:
    integer = image.mode != "F"
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ValueError("has values that are no numbers")
    plane = Image.fromarray(values.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    return Deep(np.asarray(plane, dtype=np.float32), extent(values), integer)


def _pixels(image: Image.Image, size: int, channels: int, background: str) -> Pixels:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if channels in WITHOUT_ALPHA:
            image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    elif image.mode not in {"L", "RGB"}:
        image = image.convert("L" if image.mode == "1" else "RGB")
    mode = {**WITHOUT_ALPHA, **WITH_ALPHA}[channels]
    if image.mode != mode:
        image = image.convert(mode)
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(size, size, channels)


def to_8_bits(plane: Plane, low: float, high: float, channels: int) -> Pixels:
    """Return grey values as uint8 of shape (size, size, channels), black at ``low`` and white at ``high``."""
    scaled = (plane - low) * (255 / (high - low)) if high > low else np.zeros_like(plane)
    grey: Any = np.rint(scaled).clip(0, 255).astype(np.uint8)[..., None]
    if channels in WITH_ALPHA:
        opaque = np.full_like(grey, 255)
        return np.concatenate([grey] * (channels - 1) + [opaque], axis=2)
    return np.repeat(grey, channels, axis=2)
