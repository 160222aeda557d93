"""The content of an image file, brought to the working size and channels.

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

import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from tasks.arrays import Pixels, Plane
from tasks.data import heif
from tasks.data.grey_ranges import Extent, extent_of
from tasks.data.image_facts import ImageFacts
from tasks.params import DataParams

# The limit is ours (data.max_pixels), checked before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

# By content, not by name. Formats that start other programs (EPS) or aren't pictures (PDF, FITS) are not among them.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
WITHOUT_ALPHA = {1: "L", 3: "RGB"}
WITH_ALPHA = {2: "LA", 4: "RGBA"}
GREY_MODES = {"1", "L", "LA"}


@dataclass(frozen=True)
class DeepGrey:
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


# What was seen of a file, and its pixels, of shape (size, size, channels), or deep grey; nothing if it can't be used.
Decoded = tuple[ImageFacts, Pixels | DeepGrey | None]


@cache
def formats() -> tuple[str, ...]:
    """Return those of ``FORMATS`` that this Pillow can read, which looks only once all its plugins are loaded; HEIF."""
    Image.init()
    more = (heif.FORMAT,) if heif.is_readable() else ()
    return (*(name for name in FORMATS if name in Image.OPEN), *more)


def is_grey_mode(mode: str) -> bool:
    """Return whether one channel holds all that a mode can show."""
    return mode in GREY_MODES or is_deep_mode(mode)


def is_deep_mode(mode: str) -> bool:
    """Return whether a mode holds more than 8 bits of grey."""
    return mode in {"I", "F"} or mode.startswith("I;16")


def decode(content: bytes, digest: str, params: DataParams, channels: int) -> Decoded:
    """Decode the content of a file in full.

    Args:
        content: of the file.
        digest: its SHA-256.
        params: working size, limits, and what is below alpha.
        channels: of the pixels.

    Raises:
        Exception: whatever a damaged file makes a decoder raise.
    """
    with Image.open(io.BytesIO(content), formats=formats()) as image:
        width, height = image.size
        if width * height > params.max_pixels:
            problem = f"{width}x{height} pixels are more than data.max_pixels ({params.max_pixels})"
            return ImageFacts(problem=problem, kind="too large"), None
        mode, animated, halved = image.mode, bool(getattr(image, "is_animated", False)), _is_halved(image)
        frames = _frames(image) if animated else 1
        image.load()
        if image.format == "TIFF" or any(may in str(key).lower() for key in image.info for may in ("exif", "xmp")):
            ImageOps.exif_transpose(image, in_place=True)
        facts = ImageFacts(
            *image.size, mode, image.format or "", animated, len(content), digest, "", "", frames, halved
        )
        if is_deep_mode(mode):
            return facts, _deep_grey(image, params.side)
        return facts, _pixels(image, params.side, channels, params.background)


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


def _deep_grey(image: Image.Image, size: int) -> DeepGrey:
    integer = image.mode != "F"
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ValueError("has values that are no numbers")
    plane = Image.fromarray(values.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    return DeepGrey(np.asarray(plane, dtype=np.float32), extent_of(values), integer)


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
