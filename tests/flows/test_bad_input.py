"""A user's mistake: one clear sentence, a non-zero exit, no traceback, nothing half-written."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import PREPARE, Project, make_project
from tests.support.results import one_sentence
from tests.support.servers import shared_prefect


@pytest.fixture
def project(tmp_path: Path, cells: Path) -> Project:
    """A project in which nothing has run, over images of its own."""
    shutil.copytree(cells, tmp_path / "photos")
    return make_project(tmp_path / "clone", tmp_path / "photos")


def results(project: Project) -> set[str]:
    """Return the files that a user would take for results: not what was fetched, or is kept for the next try."""
    return {file for file in project.files() if not file.startswith(("data/work/", "data/fetched/"))}


def step(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a step as a DVC stage does, in this process."""
    return project.here("tasks", *arguments)


def flow(project: Project, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a flow in this process."""
    return project.here(f"flows.{name}", *arguments, PREFECT_API_URL=shared_prefect())


def test_missing_data_folder(project: Project, tmp_path: Path) -> None:
    """By either door the sentence names the folder."""
    shutil.rmtree(tmp_path / "photos")
    assert str(tmp_path / "photos") in one_sentence(step(project, "prepare"))
    by_dvc = project.run("dvc", "repro", "prepare")
    assert by_dvc.returncode != 0
    assert str(tmp_path / "photos") in by_dvc.stderr
    assert results(project) == set()


def test_empty_class_and_single_class(project: Project, tmp_path: Path) -> None:
    """An empty class is named; a single class is not enough."""
    (tmp_path / "photos/nothing").mkdir()
    assert "photos/nothing is empty" in one_sentence(step(project, "prepare"))
    (tmp_path / "photos/nothing").rmdir()
    shutil.rmtree(tmp_path / "photos/broken")
    assert "only the class 'intact'" in one_sentence(step(project, "prepare"))
    assert results(project) == set()


def test_unreadable_images_are_left_out_until_they_are_too_many(project: Project, tmp_path: Path) -> None:
    """Of 80 images 4 may be unreadable, and are listed; a fifth stops the run and leaves nothing behind."""
    images = sorted((tmp_path / "photos/intact").iterdir())
    for image in images[:4]:
        image.write_bytes(image.read_bytes()[:200])
    done = step(project, "prepare")
    assert done.returncode == 0, done.stderr
    assert all(f"left out intact/{image.name}" in done.stdout for image in images[:4])
    assert "76 images of 2 classes" in done.stdout
    for file in project.files():
        (project.root / file).unlink()
    images[4].write_bytes(b"no image at all")
    assert "5 of 80 files" in one_sentence(step(project, "prepare"))
    assert results(project) == set()


def test_a_table_of_another_program_is_read_and_said(project: Project, tmp_path: Path) -> None:
    """Semicolons, names without a suffix, one class by two spellings: prepared, and each said, also in the figures."""
    images = sorted((tmp_path / "photos").rglob("*.png"))
    labels = [("Broken " if place % 9 == 0 else "broken") if "broken" in str(image) else "intact"
              for place, image in enumerate(images)]  # fmt: skip
    rows = "".join(f"{image.stem};{label}\n" for image, label in zip(images[:-3], labels, strict=False))
    (tmp_path / "photos/train.csv").write_text(f"image_id;class\n{rows};\n", encoding="utf-16")
    params = project.params()
    params["data"] |= {"source": "manifest", "path": str(tmp_path / "photos/train.csv")}
    project.write_params(params)
    done = step(project, "prepare")
    assert done.returncode == 0, done.stderr
    assert f"{len(images) - 3} images of 2 classes" in done.stdout
    quality = json.loads((project.root / "data/quality.json").read_text())
    assert list(quality["classes"]) == ["broken", "intact"]
    assert quality["passed_over"] == {"images that the table doesn't list": 3}
    said = (
        "'image_id'",
        "adding a suffix",
        "1 blank row",
        "joined 'Broken' (",
        "3 images that the table doesn't list",
    )
    for part in said:
        assert part in done.stdout
        assert any(part in note for note in quality["notes"])


@pytest.mark.parametrize(
    ("where", "wrong", "nearest"),
    [
        (("data", "sise"), 64, "did you mean 'size'"),
        (("strategies", "head_only", "lrr"), 0.1, "did you mean 'lr'"),
        (("backbone", "name"), "mobilnet_v2", "did you mean 'mobilenet_v2'"),
    ],
)
def test_misspelt_params_name_the_nearest(
    project: Project, where: tuple[str, ...], wrong: object, nearest: str
) -> None:
    """A misspelt key or backbone is named together with what was probably meant."""
    params = project.params()
    section = params
    for key in where[:-1]:
        section = section[key]
    section[where[-1]] = wrong
    project.write_params(params)
    assert nearest in one_sentence(step(project, "backbone"))
    assert results(project) == set()


MISTAKES: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "a pattern without a match": (
        {"train": "head", "groups": {"body": [r"layer9\..*"], "head": ["fc.*"]}},
        (r"groups.body: 'layer9\..*' matches no parameter", "its layers are conv1.0"),
    ),
    "a parameter without a pattern": (
        {"train": "head", "groups": {"head": ["fc.*"]}},
        ("'conv1.0.weight' belongs to no group", "the groups are head"),
    ),
    "a cut deeper than the network": ({"train": "all", "cut": 9}, ("cut", "stage1")),
    "adapters on layers that are not there": (
        {"train": "all", "adapters": {"targets": ["attention.*"]}},
        ("'attention.*' matches no layer", "choose from"),
    ),
    "a stem for too few channels": (
        {"train": "head", "stem": {"init": "zero"}},
        ("zero", "choose auto, sum or repeat"),
    ),
    "stages that are not there": ({"train": "stages[9:]"}, ("selects nothing", "stage1", "head")),
    "a rate for nothing": ({"train": "all", "lr": {"head": 0.1}}, ("'stem' trains, but 'lr' gives no rate",)),
    "too few epochs": ({"train": "all", "gradual": 5, "epochs": 3}, ("set 'epochs' to",)),
}


def test_strategies_that_do_not_fit_the_network(project: Project) -> None:
    """Each is one sentence that names what is wrong and what to choose from; no run is left behind."""
    project.steps(*PREPARE)
    before, params = project.files(), project.params()
    params["strategies"] = {f"wrong{i}": settings for i, (settings, _) in enumerate(MISTAKES.values())}
    project.write_params(params)
    for i, (mistake, (_, expected)) in enumerate(MISTAKES.items()):
        sentence = one_sentence(step(project, "finetune", "--strategy", f"wrong{i}"))
        assert all(part in sentence for part in expected), f"{mistake}: {sentence}"
    left = project.files() - before
    assert all(file.startswith("data/work/engines/") for file in left), "how fast the machine is may be remembered"
    assert before <= project.files()
    assert not (project.root / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("data", "channels", 0, "'data.channels'"),
        ("train", "lr", 0, "freezes nothing: leave out of 'train' what is to stay frozen"),
    ],
)
def test_values_that_mean_nothing(project: Project, section: str, key: str, value: object, expected: str) -> None:
    """No channels, and a rate of zero for frozen."""
    params = project.params()
    params[section][key] = value
    if section == "train":
        params["strategies"] = {"full": {"train": "all"}}
    project.write_params(params)
    assert expected in one_sentence(step(project, "backbone"))


def test_sections_that_are_left_out(project: Project) -> None:
    """By either door the sentence says which lines DVC needs; with them the defaults hold, and by hand without, too."""
    params = project.params()
    project.write_params({key: params[key] for key in ("data", "backbone", "train", "strategies")})
    for done in (project.here("tasks", "fetch", DVC_STAGE="fetch"), flow(project, "finetune", "head_only")):
        sentence = one_sentence(done)
        assert "leaves out split and backbones and screen and augment and compare" in sentence
    lines = re.findall(r"'(\w+: \{\})'", sentence)
    project.steps("fetch", "prepare")
    with (project.root / "params.yaml").open("a") as stream:
        stream.write("\n".join(lines))
    by_dvc = project.run("dvc", "repro", "backbone", "prepare")
    assert by_dvc.returncode == 0, by_dvc.stdout + by_dvc.stderr


def test_unknown_strategy_by_both_doors(project: Project) -> None:
    """The sentence names the nearest strategy."""
    assert "did you mean 'head_only'" in one_sentence(step(project, "finetune", "--strategy", "head_onyl"))
    assert "did you mean 'head_only'" in one_sentence(flow(project, "finetune", "head_onyl"))


def test_weights_that_no_source_has(project: Project, tmp_path: Path) -> None:
    """Without any source the flow tries again, then names what was tried, and makes no random weights."""
    params = project.params()
    params["backbone"] = {"name": "resnet18", "weights": "IMAGENET1K_V1"}
    project.write_params(params)
    unreachable = {"TORCH_HOME": str(tmp_path), "THAWLINE_CACHE": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
    server = {"PREFECT_API_URL": shared_prefect()}
    done = project.run(sys.executable, "-m", "flows.compare", **server, **unreachable)
    assert "tried the local cache" in one_sentence(done)
    assert "Retry 2/2" in done.stdout + done.stderr
    assert not any("backbone" in file or "runs" in file for file in project.files())


def test_a_training_that_explodes(project: Project) -> None:
    """The flow says which strategy diverged and what to lower, not merely that something before it failed."""
    params = project.params()
    params["strategies"] = {"scratch": {"start": "random", "train": "all", "optimizer": "sgd", "lr": 100, "epochs": 3}}
    project.write_params(params)
    sentence = one_sentence(flow(project, "finetune", "scratch"))
    assert "non-finite" in sentence
    assert "lower strategies.scratch.lr" in sentence


def test_weights_file_with_another_digest(project: Project) -> None:
    """A weights file is not read when its digest differs."""
    weights = project.root / "weights.pth"
    weights.write_bytes(b"not what was expected")
    params = project.params()
    params["backbone"] = {"name": "mobilenet_v2", "weights": str(weights), "sha256": "0" * 64}
    project.write_params(params)
    assert "has SHA-256" in one_sentence(step(project, "backbone"))
    assert results(project) == set()


def test_serving_without_a_server_says_what_is_missing(project: Project) -> None:
    """A schedule needs a Prefect server."""
    assert "needs a Prefect server" in one_sentence(project.here("flows.deployments"))
