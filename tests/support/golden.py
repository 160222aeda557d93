"""One small but nasty project, run once by each door, on which many tests look.

Its classes, subsets and files have names that other tools stumble over, its files are of many formats, a third of its
images come at several exposures, each strategy is fine-tuned with two seeds and on half of the images.
"""

import csv
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, ImageOps

from tests.support import once
from tests.support.cells import packaged_cells, write_cells
from tests.support.project import Project, make_project
from tests.support.results import must

# What an image shows, by defect probability, kind of cell, and whether it is a negative; and what that is called here.
KINDS = {
    (0.0, "mono", False): "yes",
    (1.0, "mono", False): "no",
    (0.0, "poly", False): "1",
    (1.0, "poly", False): "Größe 1.5 µm <b>&amp;",
    (0.0, "mono", True): "long " + "x" * 200,
}
CLASSES = list(KINDS.values())
SUBSETS = ["2", "null", "a/b <i> größer", "a:b <i> größer", "s" * 260]
LONG_FILE = "f" * 220
EXPOSURES = (0.4, 0.6, 0.8)
FORMATS = {".png": {}, ".jpg": {"quality": 95}, ".tif": {}, ".bmp": {}, ".webp": {"lossless": True}, ".gif": {}}
IMAGES = 24  # of each class, without those at other exposures
SEEDS, SHARE, ROBUSTNESS_IMAGES = 2, 0.5, 8
STRATEGIES: dict[str, dict[str, Any]] = {
    "scratch": {
        "start": "random",
        "train": "all",
        "batchnorm": "train",
        "cut": 1,
        "insert": 1,
        "lr": 0.002,
        "epochs": 1,
    },
    "head_only": {"train": "head", "solver": "lbfgs", "tta": True},
    "mixed": {
        "phases": [{"train": "head", "epochs": 2, "lr": "find"}, {"train": "stages[-1]", "epochs": 1, "lr": 0.001}],
        "soup": 2,
        "wise_ft": [0.3, 0.6],
        "ema": 0.9,
    },
}
DOORS = {"dvc": ("dvc", "repro"), "flow": (sys.executable, "-m", "flows.compare")}


def golden(door: str) -> tuple[Project, str]:
    """Return the project after its first run by a door, and what was printed; no test may change it."""

    def make(folder: Path) -> str:
        return must(_project(folder / "clone").run(*DOORS[door]))

    printed: str = once.once(f"golden-{door}", make)
    return Project(once.folder() / f"golden-{door}" / "clone"), printed


def light() -> Project:
    """Return a project of two strategies in which everything was run and recorded; no test may change it."""

    def make(folder: Path) -> str:
        project = make_project(folder / "clone", write_cells(folder / "photos", 40))
        project.compare()
        return must(project.run("dvc", "commit", "-f"))

    once.once("light", make)
    return Project(once.folder() / "light" / "clone")


def photos() -> Path:
    """Return the folder of the images and their table, which no test may change."""

    def make(folder: Path) -> str:
        return str(_write_photos(folder / "photos of Müller.v2"))

    return Path(once.once("photos", make))


def _project(root: Path) -> Project:
    project = make_project(root, photos(), {"seeds": SEEDS, "shares": [SHARE]})
    params = project.params()
    params["data"] |= {"source": "manifest", "path": str(photos() / "table.csv"), "upright": False}
    params["compare"]["robustness_images"] = ROBUSTNESS_IMAGES
    params["strategies"] = STRATEGIES
    project.write_params(params)
    return project


def _write_photos(images: Path) -> Path:
    """Write the images and the table that lists them; return their folder."""
    images.mkdir()
    rows = [("path", "label", "subset")]
    for number, (source, negative, label) in enumerate(_sources()):
        ending = list(FORMATS)[number % len(FORMATS)]
        stem = [f"{number} näme.x y", f"{number:03}{LONG_FILE}", f"yes{number}"][number % 3]
        subset = SUBSETS[number % len(SUBSETS)]
        with Image.open(source) as opened:
            image = ImageOps.invert(opened) if negative else opened.copy()
        image.save(images / f"{stem}{ending}", **FORMATS[ending])
        rows.append((f"{stem}{ending}", label, subset))
        for gain in EXPOSURES if number % 3 == 0 else ():
            name = f"{gain}-{stem}.png"
            image.point(lambda value, gain=gain: int(value * gain)).save(images / name)
            rows.append((name, label, subset))
    with (images / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return images


def _sources() -> list[tuple[Path, bool, str]]:
    """Return the file, whether it becomes a negative, and the class of every image, classes in turns."""
    folder = packaged_cells()
    table = pd.read_csv(folder / "labels.csv", sep=r"\s+", header=None, names=["path", "probability", "cell"])
    sources = []
    for place in range(IMAGES):
        for (probability, cell, negative), label in KINDS.items():
            same = table[(table["probability"] == probability) & (table["cell"] == cell)]
            sources.append((folder / same["path"].iloc[place + IMAGES * negative], negative, label))
    return sources
