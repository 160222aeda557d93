"""The draw that decides the split of a group: from its content and a seed, so that no order of listing matters."""

import hashlib
from collections.abc import Sequence

import pandas as pd

from tasks.arrays import Flags
from tasks.params import SplitParams


def position(digest: str, label: str, seed: int) -> float:
    """Return a number in [0, 1) drawn from an image's content, its class and the seed alone.

    Each class is so divided by its own independent draw.
    """
    drawn = hashlib.sha256(f"{seed}:{label}:{digest}".encode()).digest()
    return int.from_bytes(drawn[:7]) / 2**56


class SplitDraws:
    """Draws the split of a group from the content of one of its images, and nothing else.

    Attributes:
        spans: the draws, from 0 to 1, that lead to each split that images are drawn for.
        wanted: independent images of each class that each of these splits is to have.
    """

    def __init__(self, images: pd.DataFrame, params: SplitParams) -> None:
        """Take images with columns ``group``, ``sha256``, ``label`` and ``given``, the split that the source gave."""
        self._keys = list(zip(images["group"], images["sha256"], images["label"], strict=True))
        self._seed = params.seed
        test, validation = _shares(images["given"], params)
        folded = params.divisions > 0  # what isn't tested on is divided later
        self._test, self._validation = test, 0.0 if folded else validation
        held_out = self._test + self._validation
        spans = {"train": (held_out, 1.0), "val": (test, held_out), "test": (0.0, test)}
        self.spans = {split: span for split, span in spans.items() if span[1] > span[0]}
        self.wanted = {name: 2 if folded and name == "train" else 1 for name in self.spans}

    def position(self, members: Sequence[int]) -> float:
        """Return the draw of a group: that of its named group, or of the image with the least digest."""
        group, digest, label = min((self._keys[i] for i in members), key=lambda key: (key[0] == "", key))
        return position(group, "", self._seed) if group else position(digest, label, self._seed)

    def split(self, members: Sequence[int]) -> str:
        """Return the split of a group."""
        drawn = self.position(members)
        return "test" if drawn < self._test else "val" if drawn < self._test + self._validation else "train"


def drawn_images(given: pd.Series, params: SplitParams) -> Flags:
    """Return which images are drawn: those without a split, and ``train`` where a held-out split is carved from it."""
    carved = sum(_shares(given, params)) > 0
    return ((given == "") | ((given == "train") & carved)).to_numpy(copy=True)


def _shares(given: pd.Series, params: SplitParams) -> tuple[float, float]:
    """Return the shares of test and val among the images that are drawn."""
    present = set(given) - {""}
    test = 0.0 if "test" in present else params.test
    val = 0.0 if "val" in present else params.validation
    if "test" in present:
        val /= 1 - params.test
    if "val" in present:
        test /= 1 - params.validation
    return test, val
