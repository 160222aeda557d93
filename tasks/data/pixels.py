"""Images decoded once, into a memory-mapped store at the working size."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from tasks.files import replacing

# The limit is ours (data.max_pixels), checked before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

WITHOUT_ALPHA = {1: "L", 3: "RGB"}
WITH_ALPHA = {2: "LA", 4: "RGBA"}

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ReadImage:
    """What was seen of a file; ``problem`` says why it can't be used, and is empty when it can."""

    width: int = 0
    height: int = 0
    mode: str = ""
    size: int = 0
    sha256: str = ""
    problem: str = ""


def read_header(path: Path) -> str:
    """Return an image's mode without decoding it, or an empty text when it isn't an image."""
    try:
        with Image.open(path) as image:
            return image.mode
    except Exception:
        return ""


def decode(image: Image.Image, size: int, channels: int) -> Pixels:
    """Turn an image upright, bring it to ``channels``, and resize it to ``size`` x ``size``.

    One channel is grey, three are colour, with alpha composited over white; two and four have alpha as their last.
    16-bit grey keeps its upper byte. Returns uint8 of shape (size, size, channels).

    Raises:
        ValueError: the image's mode has no fixed range.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image, dtype=np.uint16) >> 8).astype(np.uint8))
    elif image.mode in {"I", "F"}:
        raise ValueError(f"mode {image.mode} has no fixed range of values")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        if channels in WITHOUT_ALPHA:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    else:
        image = image.convert("L" if image.mode in {"1", "L"} else "RGB")
    image = image.convert({**WITHOUT_ALPHA, **WITH_ALPHA}[channels])
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(size, size, channels)


def fill_store(
    root: Path, paths: Sequence[str], target: Path, size: int, channels: int, max_pixels: int
) -> list[ReadImage]:
    """Decode every file once, in threads, and write the usable ones to ``target`` in their order.

    The store is a NumPy file of uint8 with shape (usable files, size, size, channels).
    """
    with replacing(target) as temporary:
        shape = (len(paths), size, size, channels)
        store = _allocate(temporary, shape)
        read = partial(_read_into, root, store, size, channels, max_pixels)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            seen = list(pool.map(read, range(len(paths)), paths, chunksize=16))
        usable = [row for row, image in enumerate(seen) if not image.problem]
        if len(usable) < len(paths):
            kept = temporary.with_suffix(".kept")
            compact = _allocate(kept, (len(usable), *shape[1:]))
            for new, old in enumerate(usable):
                compact[new] = store[old]
            compact.flush()
            kept.replace(temporary)
        store.flush()
    return seen


def open_store(source: Path) -> Pixels:
    """Map a store into memory, read-only."""
    store: Pixels = np.load(source, mmap_mode="r")
    return store


def _allocate(target: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    """Make a store whose every byte is on the disk: writing to a hole in a mapped file kills the process if it's full.

    Raises:
        OSError: there is no space for it.
    """
    store = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with target.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, target.stat().st_size)
    return store


def _read_into(root: Path, store: Pixels, size: int, channels: int, max_pixels: int, row: int, name: str) -> ReadImage:
    path = root / name
    try:
        if not path.resolve().is_relative_to(root.resolve()):
            return ReadImage(problem="a link that leaves the data folder")
        content = path.read_bytes()
        with path.open("rb") as stream, Image.open(stream) as image:
            width, height, mode = *image.size, image.mode
            if width * height > max_pixels:
                return ReadImage(problem=f"{width}x{height} pixels are more than data.max_pixels ({max_pixels})")
            store[row] = decode(image, size, channels)
    except Exception as error:
        return ReadImage(problem=f"unreadable: {' '.join(str(error).split())[:200] or type(error).__name__}")
    return ReadImage(width, height, mode, len(content), hashlib.sha256(content).hexdigest())
