"""The working size is left to the images, and whatever comes after them has it."""

import json
from pathlib import Path

from PIL import Image

from tests.support.cells import write_cells
from tests.support.project import PREPARE, make_project


def test_small_images_are_worked_on_at_less(tmp_path: Path) -> None:
    """``auto`` by shrunk images: a line says so, and the pixels, the weights' record and the file have that size."""
    photos = write_cells(tmp_path / "photos", 12)
    for file in photos.rglob("*.png"):
        with Image.open(file) as image:
            small = image.resize((100, 120))
        small.save(file)
    project = make_project(tmp_path / "clone", photos)
    params = project.params()
    params["data"]["size"] = "auto"
    project.write_params(params)
    assert "24 images of 2 classes at 224 pixels (data.size: auto)" in project.steps(*PREPARE)
    read = [
        json.loads((project.root / f"data/{name}.json").read_text()) for name in ("working_size", "backbone/record")
    ]
    assert [content["size"] for content in read] == [224, 224]
    first = (project.root / "data/pixels.jsonl").read_text().splitlines()[0]
    assert json.loads(first)["size"] == 224


def test_weights_wait_for_images_that_have_the_size(tmp_path: Path) -> None:
    """Without prepared images nobody knows it: one sentence says what to run."""
    project = make_project(tmp_path / "clone", write_cells(tmp_path / "photos", 12))
    params = project.params()
    params["data"]["size"] = "auto"
    project.write_params(params)
    done = project.here("tasks", "backbone")
    assert done.returncode != 0
    assert "data/working_size.json does not exist: run 'dvc repro' to make it" in done.stdout + done.stderr
