"""Perceptual fingerprints: what an image looks like, whatever its exposure, size or compression, as a short vector.

A thumbnail's values are replaced by their ranks, which no change of exposure that keeps the order of brightness (gain,
offset, gamma) changes. What the images of a set have in common, such as the bars of a solar cell or a white background,
says nothing of whether two of them show the same: vectors are whitened by the principal components of the set. An
overexposed image has lost the order of its brightest values; it is compared by the darker ones alone.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

from tasks.arrays import Pixels, Singles, Thumbnails

SIDE = 32
COMPONENTS = 128
FLOOR = 64  # the component whose variance bounds how much whitening amplifies
SAMPLE = 8192  # images that the principal components are taken from
SATURATED = 250
LEVELS = (1.0, 0.6, 0.3)  # shares of the values, from the darkest, that are compared


class Fingerprints(NamedTuple):
    """Unit vectors of images; zero for images without any structure.

    Attributes:
        ranks: of the values of the thumbnail, shape (images, 1024).
        whitened: shape (images, at most 128).
    """

    ranks: Singles
    whitened: Singles


def thumbnail(pixels: Pixels) -> Thumbnails:
    """Return the grey thumbnail of an image of shape (size, size, channels), as uint8 of shape (32, 32)."""
    colours = pixels.shape[2] - (pixels.shape[2] % 2 == 0)
    image = Image.fromarray(pixels[..., 0] if colours == 1 else pixels[..., :colours])
    factor, rest = divmod(pixels.shape[0], SIDE)
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX) if rest or not factor else image.reduce(factor)
    return np.asarray(small if colours == 1 else small.convert("L"))


def exposure_levels(thumbnails: Thumbnails) -> Singles:
    """Return the largest of ``LEVELS`` at which each image is whole: the share of its values that aren't saturated."""
    unsaturated = 1 - (thumbnails >= SATURATED).mean(axis=(1, 2))
    levels = np.full(len(thumbnails), LEVELS[-1], dtype=np.float32)
    for level in reversed(LEVELS[:-1]):
        levels[unsaturated >= level - 0.02] = level
    return levels


def fingerprints(thumbnails: Thumbnails, level: float) -> Fingerprints:
    """Return the fingerprints of thumbnails of shape (images, 32, 32), by the darkest ``level`` of their values."""
    ranks = _unit(np.minimum(_ranks(thumbnails.reshape(len(thumbnails), -1)), np.float32(level)))
    structured = np.linalg.norm(ranks, axis=1) > 0
    sample = ranks[structured][:: max(1, int(structured.sum()) // SAMPLE)]
    if len(sample) < 2:
        return Fingerprints(ranks, np.zeros((len(ranks), 1), dtype=np.float32))
    centre = sample.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(sample - centre, rowvar=False))
    variances, directions = variances[::-1][:COMPONENTS], directions[:, ::-1][:, :COMPONENTS]
    floor = max(float(variances[min(FLOOR, len(sample) // 2)]), 1e-6)
    whitened = (ranks - centre) @ (directions / np.sqrt(np.maximum(variances, 0) + floor)).astype(np.float32)
    whitened /= np.maximum(np.linalg.norm(whitened, axis=1, keepdims=True), 1e-9)
    return Fingerprints(ranks, np.where(structured[:, None], whitened, 0))


def _ranks(values: Thumbnails) -> Singles:
    """Return the rank of each value among those of its row, in (0, 1]; equal values share the mean of theirs."""
    ranks = np.empty(values.shape, dtype=np.float32)
    rows, width = values.shape
    for start in range(0, rows, 1024):
        block = values[start : start + 1024]
        place = np.arange(len(block))[:, None] * 256 + block
        counts = np.bincount(place.ravel(), minlength=len(block) * 256).reshape(-1, 256)
        middle = np.cumsum(counts, axis=1) - (counts - 1) / 2
        ranks[start : start + 1024] = np.take_along_axis(middle, block.astype(np.int64), axis=1) / width
    return ranks


def _unit(vectors: Singles) -> Singles:
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Singles = np.where(lengths > 1e-4, vectors / np.maximum(lengths, 1e-4), 0)
    return unit
