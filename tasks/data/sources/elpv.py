"""The packaged solar cells: copied to where they are read, and listed."""

import importlib.util
import shutil
from pathlib import Path

import pandas as pd

from tasks.data.sources.listing import LabelledFile, SourceListing
from tasks.errors import UserError
from tasks.progress import counting

NOTICE = """\
Electroluminescence images of solar cells: the ELPV data set, from the package elpv-dataset.
Licence: Creative Commons BY-NC-SA 4.0 (https://creativecommons.org/licenses/by-nc-sa/4.0/): no commercial use.
Source: S. Deitsch et al., "Automatic classification of defective photovoltaic module cells in electroluminescence
images", Solar Energy 185 (2019), 455-468; C. Buerhop-Lutz et al., EU PVSEC (2018).
"""


def fetch(target: Path) -> None:
    """Copy the images, their labels and their licence to ``target``.

    Raises:
        UserError: the package is not installed.
    """
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise UserError("the package elpv-dataset is not installed: install the project as its README says")
    packaged = Path(spec.origin).parent / "data"
    images = sorted((packaged / "images").iterdir())
    (target / "images").mkdir()
    with counting("copying images", len(images)) as advance:
        for image in images:
            shutil.copy2(image, target / "images")
            advance(1)
    shutil.copyfile(packaged / "labels.csv", target / "labels.csv")
    (target / "LICENSE.txt").write_text(NOTICE, encoding="utf-8")


def find(root: Path, defective_over: float) -> SourceListing:
    """List every cell with its type as subset.

    Args:
        root: the folder that the cells were copied to.
        defective_over: the probability of a defect above which a cell is ``defective``, else ``functional``.

    Raises:
        UserError: the labels are missing.
    """
    if not (root / "labels.csv").is_file():
        raise UserError(
            f"{root} has no labels.csv: run 'dvc repro' to put the packaged images there, or set data.source to folder"
        )
    table = pd.read_csv(root / "labels.csv", sep=r"\s+", header=None, names=["path", "probability", "cell"])
    files = [
        LabelledFile(path, "defective" if probability > defective_over else "functional", subset=cell)
        for path, probability, cell in table.itertuples(index=False)
    ]
    return SourceListing(root, files)
