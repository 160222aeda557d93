"""Images made worse the way cameras, mounts and archives make them worse, at five severities.

After Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR
2019. The strengths are our own; what is measured in pixels grows with the side of the image.
"""

import io
from collections.abc import Callable, Sequence
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

Generators = Sequence[np.random.Generator]


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
        generators = [np.random.default_rng((seed, KINDS.index(kind), int(name))) for name in names]
        visible = changed[..., : images.shape[3] - 1 + images.shape[3] % 2]
        visible[...] = _CHANGES[kind](visible, STRENGTHS[kind][severity - 1], generators)
    return changed


def _noise(images: Pixels, share: float, generators: Generators) -> Pixels:
    drawn = [generator.standard_normal(images.shape[1:], dtype=np.float32) for generator in generators]
    return _pixels(images + 255 * share * np.stack(drawn))


def _blur(images: Pixels, share: float, _: Generators) -> Pixels:
    deviation = FAINTEST_BLUR + share * min(images.shape[1:3])
    return _pixels(gaussian_filter(images, deviation, output=np.float32, mode="nearest", truncate=3, axes=(1, 2)))


def _brightness(images: Pixels, share: float, generators: Generators) -> Pixels:
    signs = np.array([generator.choice((-1, 1)) for generator in generators], dtype=np.float32)
    return _pixels(images + 255 * share * signs[:, None, None, None])


def _jpeg(images: Pixels, quality: float, _: Generators) -> Pixels:
    return np.stack([_compressed(image, int(quality)) for image in images])


def _compressed(image: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, "JPEG", quality=quality)
    with Image.open(file) as opened:
        decoded: Pixels = np.asarray(opened).reshape(image.shape)
    return decoded


def _shift(images: Pixels, share: float, generators: Generators) -> Pixels:
    directions = np.stack([generator.choice(DIRECTIONS) for generator in generators])
    count, height, width, _ = images.shape
    down, right = (np.ceil(share * np.array([height, width])).astype(np.int64) * directions).T
    y = np.clip(np.arange(height) - down[:, None], 0, height - 1)
    x = np.clip(np.arange(width) - right[:, None], 0, width - 1)
    moved: Pixels = images[np.arange(count)[:, None, None], y[:, :, None], x[:, None, :]]
    return moved


def _pixels(values: npt.NDArray[np.floating[Any]]) -> Pixels:
    return values.round().clip(0, 255).astype(np.uint8)


_CHANGES: dict[Kind, Callable[[Pixels, float, Generators], Pixels]] = {
    "noise": _noise,
    "blur": _blur,
    "brightness": _brightness,
    "jpeg": _jpeg,
    "shift": _shift,
}
