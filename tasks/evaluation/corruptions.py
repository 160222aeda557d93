"""Images made worse the way cameras, mounts and archives make them worse, at five severities.

After Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR
2019. The strengths are our own; what is measured in pixels grows with the side of the image.
"""

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from tasks.arrays import Integers, Pixels

Kind = Literal["noise", "blur", "brightness", "jpeg", "shift"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SEVERITIES = (1, 2, 3, 4, 5)
STRENGTHS: dict[Kind, Sequence[float]] = {
    "noise": (0.03, 0.06, 0.10, 0.15, 0.22),  # standard deviation, as a share of the range of values
    "blur": (0.004, 0.008, 0.012, 0.018, 0.027),  # standard deviation, as a share of the shorter side
    "brightness": (0.08, 0.16, 0.24, 0.32, 0.40),  # added or taken away, as a share of the range of values
    "jpeg": (50, 30, 20, 12, 7),  # quality
    "shift": (0.03, 0.06, 0.09, 0.12, 0.15),  # share of the height and of the width
}
FAINTEST_BLUR = 0.4  # pixels that are added to every blur: less would not show on a small image
DIRECTIONS = np.array([direction for direction in product((-1, 0, 1), repeat=2) if any(direction)])


def corrupt(images: Pixels, kind: Kind, severity: int, seed: int, rows: Integers | None = None) -> Pixels:
    """Return a corrupted copy of images.

    What is drawn for an image depends on the kind, the seed and the image's row alone, not on the images beside it;
    a higher severity makes more of the same draw.

    Args:
        images: shape (images, height, width, channels); the last of two and of four channels is alpha and stays.
        kind: ``noise`` (Gaussian), ``blur`` (Gaussian), ``brightness`` (lighter or darker), ``jpeg`` (compressed
            anew) or ``shift`` (along an axis or a diagonal; the edge fills what is left behind).
        severity: 1 to 5, or 0 for the images as they are.
        seed: of what is drawn.
        rows: the number that stands for each image in its draws, shape (images,); None: its place.

    Raises:
        ValueError: there is no such kind or severity.
    """
    if kind not in KINDS or severity not in (0, *SEVERITIES):
        raise ValueError(f"there is no corruption {kind} of severity {severity}")
    changed = images.copy()
    if severity > 0 and len(images) > 0:
        names = np.arange(len(images)) if rows is None else rows
        visible = changed[..., : images.shape[3] - 1 + images.shape[3] % 2]
        strength = STRENGTHS[kind][severity - 1]

        def change(image: Pixels, name: int) -> None:
            generator = np.random.default_rng((seed, KINDS.index(kind), name))
            image[...] = _CHANGES[kind](image, strength, generator)

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy, SciPy and Pillow let other threads run
            list(pool.map(change, visible, names.tolist()))
    return changed


def _noise(image: Pixels, share: float, generator: np.random.Generator) -> Pixels:
    noise = generator.standard_normal(image.shape, dtype=np.float32)
    noise *= 255 * share
    return _pixels(np.add(image, noise, out=noise))


def _blur(image: Pixels, share: float, _: np.random.Generator) -> Pixels:
    deviation = FAINTEST_BLUR + share * min(image.shape[:2])
    return _pixels(gaussian_filter(image, deviation, output=np.float32, mode="nearest", truncate=3, axes=(0, 1)))


def _brightness(image: Pixels, share: float, generator: np.random.Generator) -> Pixels:
    becomes = _pixels(np.arange(256, dtype=np.float32) + 255 * share * generator.choice((-1, 1)))
    changed: Pixels = becomes[image]
    return changed


def _jpeg(image: Pixels, quality: float, _: np.random.Generator) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, "JPEG", quality=int(quality))
    with Image.open(file) as opened:
        decoded: Pixels = np.asarray(opened).reshape(image.shape)
    return decoded


def _shift(image: Pixels, share: float, generator: np.random.Generator) -> Pixels:
    height, width, _ = image.shape
    down, right = np.ceil(share * np.array([height, width])).astype(np.int64) * generator.choice(DIRECTIONS)
    y, x = np.clip(np.arange(height) - down, 0, height - 1), np.clip(np.arange(width) - right, 0, width - 1)
    moved: Pixels = image[y[:, None], x]
    return moved


def _pixels(values: npt.NDArray[np.floating[Any]]) -> Pixels:
    """Return values, which are overwritten, as pixels."""
    return values.round(out=values).clip(0, 255, out=values).astype(np.uint8)


_CHANGES: dict[Kind, Callable[[Pixels, float, np.random.Generator], Pixels]] = {
    "noise": _noise,
    "blur": _blur,
    "brightness": _brightness,
    "jpeg": _jpeg,
    "shift": _shift,
}
