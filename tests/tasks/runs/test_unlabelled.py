"""Images without a label, from the folder to the champion's answers."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.files import read_json
from tasks.params import load_params
from tasks.runs import unlabelled
from tests.support.project import Project, make_project
from tests.support.results import one_sentence


@pytest.fixture
def project(tmp_path: Path, cells: Path) -> Project:
    """A project over train folders of the cells, with some of them loose in a test folder."""
    shutil.copytree(cells, tmp_path / "photos/train")
    (tmp_path / "photos/test").mkdir()
    for image in sorted((tmp_path / "photos/train/intact").iterdir())[:7]:
        image.rename(tmp_path / "photos/test" / image.name)
    (tmp_path / "photos/test/damaged.png").write_bytes(b"no image")
    return make_project(tmp_path / "clone", tmp_path / "photos")


def test_they_are_counted_not_trained_on_and_scored(project: Project, tmp_path: Path) -> None:
    """The whole way: the manifest has none of them, the champion answers all that can be read, the report says so."""
    params = project.params()
    del params["strategies"]["scratch"]
    project.write_params(params)
    names = sorted(f"test/{path.name}" for path in (tmp_path / "photos/test").iterdir())
    printed = project.compare()
    assert "8 images in test have no label (no class folder)" in printed
    assert "a test split is drawn from train" in printed
    assert "scored 7 unlabelled images: data/reports/unlabelled.parquet (1 more can't be read" in printed
    used = pd.read_parquet(project.root / "data/manifest.parquet")
    assert not set(names) & set(used["path"])
    assert set(used["split"]) == {"train", "val", "test"}
    quality = read_json(project.root / "data/quality.json")
    assert quality["passed_over"] == {"unlabelled images": 8}
    assert quality["files"] == 81
    table = pd.read_parquet(project.root / "data/reports/unlabelled.parquet").set_index("path")
    assert sorted(table.index) == names
    assert table.loc["test/damaged.png", "problem"]
    answered = table.drop(index="test/damaged.png")
    assert set(answered["label"]) <= {"intact", "broken"}
    assert answered[["p[broken]", "p[intact]"]].sum(axis=1).to_numpy() == pytest.approx(1)
    page = (project.root / "data/reports/comparison.html").read_text(encoding="utf-8")
    assert 'href="unlabelled.parquet"' in page


def test_the_list_is_there_without_any(project: Project, tmp_path: Path) -> None:
    """``prepare`` writes it always; another content of one is another list."""
    project.steps("fetch", "prepare")
    listed = project.root / "data/unlabelled.parquet"
    before = pd.read_parquet(listed)
    assert len(before) == 8
    shutil.copy(next((tmp_path / "photos/train/broken").iterdir()), tmp_path / "photos/test/damaged.png")
    project.steps("prepare")
    assert not pd.read_parquet(listed).equals(before)
    with project.entered():
        said = unlabelled.score_unlabelled(unlabelled.waiting(load_params().data), None, ["broken", "intact"])
    assert said == "8 unlabelled images were not scored: this comparison has no champion"
    shutil.rmtree(tmp_path / "photos/test")
    project.steps("prepare")
    assert pd.read_parquet(listed).empty
    with project.entered():
        assert not unlabelled.score_unlabelled(unlabelled.waiting(load_params().data), None, ["broken", "intact"])
    assert "p[broken]" in pd.read_parquet(project.root / "data/reports/unlabelled.parquet")


def test_names_that_are_no_unicode_are_set_aside(project: Project, tmp_path: Path) -> None:
    """One image, by its escaped name; the rest goes on."""
    folder = tmp_path / "photos/train/intact"
    odd = os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")
    try:
        next(folder.iterdir()).rename(odd)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    printed = project.steps("fetch", "prepare")
    assert r"left out train/intact/caf\xe9.png: unreadable: its name is no Unicode" in printed
    assert "72 images of 2 classes" in printed
    quarantine = pd.read_parquet(project.root / "data/quarantine.parquet")
    assert quarantine["path"].tolist() == [r"train/intact/caf\xe9.png"]


EXTRAS = st.sampled_from(
    ["Thumbs.db", "1.txt", "clip.mp4", ".hidden", "__MACOSX/._1.png", "bad.png", "caf\udce9.png", "@eaDir/x.jpg"]
)
PLACES = st.sampled_from(["", "train/", "test/", "train/intact/", "train/broken/deep/"])


@given(st.sets(st.builds("{}{}".format, PLACES, EXTRAS), max_size=6))
@settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_everything_is_used_set_aside_or_passed_over(project: Project, tmp_path: Path, extras: set[str]) -> None:
    """What is counted is what lies there."""
    photos = tmp_path / "photos"
    made = [photos / name for name in extras]
    for file in made:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"anything")
    try:
        done = project.here("tasks", "prepare")
        there = sum(path.is_file() for path in photos.rglob("*"))
    finally:
        for file in made:
            file.unlink()
    if done.returncode:
        assert "can't be used" in one_sentence(done)
        return
    quality = read_json(project.root / "data/quality.json")
    counts = (quality["images"], *quality["left_out"].values(), *quality["passed_over"].values())
    assert quality["files"] == there == sum(counts)
    assert len(pd.read_parquet(project.root / "data/quarantine.parquet")) == sum(quality["left_out"].values())
