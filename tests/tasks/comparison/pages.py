"""What the report says of real images, two of whose classes have hostile names."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from PIL import Image

from tasks.arrays import Pixels
from tasks.comparison.report import DataPage
from tasks.data.quality import describe
from tasks.evaluation.probes import Pretence
from tasks.evaluation.saliency import Map

EVIL = "<script>alert('x')</script>"
CLASSES = [EVIL, "b\"&'$_$ <b>"]


def data_of(cells: Path, pretences: Sequence[Pretence] = ()) -> DataPage:
    """Return what is known of the real images, two of which make a group, and one file of which was left out."""
    paths = sorted(path.relative_to(cells).as_posix() for path in cells.rglob("*.png"))
    table = pd.DataFrame(
        {"path": paths, "label": [CLASSES[path.startswith("intact")] for path in paths], "split": "train"}
    ).assign(group=["twins", "twins", *[""] * (len(paths) - 2)], width=300, height=300, mode="L", format="PNG")
    bad = pd.DataFrame({"path": [EVIL], "label": [EVIL], "kind": ["unreadable"], "reason": [f"no image {EVIL}"]})
    leak = {"path": EVIL, "split": "train", "twin": EVIL, "twin_split": "test", "alike": 0.97}
    quality = describe(table.assign(animated=False), bad, pd.DataFrame([leak]), {"integer": (3.0, 4000.0)})

    def read_image(path: str) -> Pixels:
        with Image.open(cells / path) as image:
            return np.asarray(image)[..., None]

    return DataPage(quality, pretences, table, read_image)


def upper_half(path: str, label: str) -> Map:
    """Return a saliency map that is hot in the upper half."""
    return np.repeat(np.array([1, 0], dtype=np.float32), 150)[:, None].repeat(300, axis=1)


def svg_of(content: bytes) -> ElementTree.Element:
    """Return the tree of an SVG that was drawn here."""
    return ElementTree.fromstring(content)  # noqa: S314
