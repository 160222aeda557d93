"""The size at which images are worked on, where params leave it to the images.

Networks that were pretrained at 224 pixels do better at somewhat more (Touvron et al., NeurIPS 2019), if the images
have it: enlarging small ones beyond 224 gains nothing, and costs two thirds more. ``tests/benchmarks/working_size.py``
measured where the one is better and where the other.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from PIL import Image

from tasks.data import file_access
from tasks.data.decoding import formats
from tasks.params import DataParams

SMALL, LARGE = 224, 288
LARGE_FROM = 224  # pixels of the shorter side, in the median
LOOKED_AT = 500  # files, spread over all


def resolve_size(root: Path, paths: Sequence[str], params: DataParams, links_to: Sequence[Path] = ()) -> int:
    """Return what params ask for, or, for ``auto``, what suits the images.

    Args:
        root: the folder that the paths are relative to.
        paths: the files.
        params: working size and limits.
        links_to: folders elsewhere that links may lead to.
    """
    if params.size != "auto":
        return params.size
    some = paths[:: max(1, len(paths) // LOOKED_AT)]
    sides = [side for path in some if (side := _shorter_side(root, path, params, links_to))]
    return suited_to(median(sides)) if sides else LARGE


def suited_to(side: float) -> int:
    """Return the size that suits images of a shorter side in pixels."""
    return LARGE if side >= LARGE_FROM else SMALL


def _shorter_side(root: Path, name: str, params: DataParams, links_to: Sequence[Path]) -> int:
    """Return the shorter side that a file's header states, in pixels; 0 where it isn't an image that may be read."""
    try:
        if file_access.name_problem(name) or file_access.access_problem(root, name, params, links_to):
            return 0
        with Image.open(root / name, formats=formats()) as image:
            return min(image.size)
    except Exception:  # whatever a damaged file makes a decoder raise
        return 0
