"""What the benchmark reads off commands and projects, with planted ones; and how it is called."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.models import shufflenet_v2_x0_5
from typer import BadParameter, Typer
from typer.testing import CliRunner

from tests.benchmarks.forward import choose, in_turns
from tests.benchmarks.minutes import rows
from tests.benchmarks.minutes.__main__ import main
from tests.benchmarks.minutes.checkouts import Checkout, Clone
from tests.benchmarks.minutes.machine import Watched, machine, watched
from tests.benchmarks.minutes.photos import draw
from tests.benchmarks.minutes.results import found_by, write_split
from tests.benchmarks.minutes.turns import Row, Way

WORK = Watched(
    40.0,
    900.0,
    [
        (1.0, "Running stage 'probe':"),
        (4.0, "said"),
        (5.0, "Running stage 'race':"),
        (10.0, "Running stage 'finetune@full':"),
        (30.0, "said"),
    ],
)


def called(*arguments: object) -> Any:
    """Call the command in this process."""
    app = Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_silence_and_stages_are_read_off_the_lines() -> None:
    """A stage lasts until the next one begins, the last one until the end."""
    assert WORK.longest_silence() == 20.0
    assert WORK.stages() == {
        "probe": {"seconds": 4.0, "silence": 3.0},
        "race": {"seconds": 5.0, "silence": 5.0},
        "finetune@full": {"seconds": 30.0, "silence": 20.0},
    }


def test_a_command_is_watched(tmp_path: Path) -> None:
    """Its lines, and the memory of its largest process, even if that is a child of a child."""
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = bytearray(300_000_000); print(1)'])"
    work = watched([sys.executable, "-c", child], tmp_path, {}, tmp_path / "log")
    assert [line for _, line in work.lines] == ["1"]
    assert 280 < work.peak_mib < 400, "not that of this process, which is larger"
    assert (tmp_path / "log").read_text().endswith(" 1\n")


def test_a_failing_command_shows_its_end(tmp_path: Path) -> None:
    """With what it printed last."""
    with pytest.raises(RuntimeError, match=r"status 3:\nwhat went wrong"):
        watched([sys.executable, "-c", "print('what went wrong'); raise SystemExit(3)"], tmp_path, {})


def test_the_machine_is_named() -> None:
    """By its processor, and the versions that decide on speed."""
    found = machine()
    assert found["processor"]
    assert found["cores"] >= 1
    assert found["packages"]["torch"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with results that were planted: one strategy was trained to its end, one was stopped."""
    root = tmp_path / "project"
    scores = {"auroc": 0.9, "accuracy": 0.8, "balanced_accuracy": 0.7, "ece": 0.1}
    strategies = {
        "full": {"tied": True, "stopped": None, "val": scores, "test": scores},
        "scratch": {"tied": False, "stopped": {"reason": "behind"}, "val": scores, "test": None},
    }
    comparison = {"champion": "full", "strategies": strategies, "data": {"images": {"train": 2}}}
    for name, content in (
        ("data/reports/comparison.json", comparison),
        ("data/runs/full/metrics.json", {"train_seconds": 25.0}),
        ("data/runs/scratch/metrics.json", {"train_seconds": 2.0}),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(content), encoding="utf-8")
    return root


def test_a_project_says_what_it_took_and_found(project: Path) -> None:
    """Training and what surrounds it; the champion, ties, and who was stopped."""
    found = found_by(project, WORK)
    assert found["training"] == 27.0
    assert found["outside_training"] == 4.0, "a strategy, of 5 s of race and 30 s of its stage"
    assert (found["champion"], found["tied"], found["stopped"]) == ("full", ["full"], ["scratch"])
    assert found["test"] == {"auroc": 0.9, "accuracy": 0.8, "balanced_accuracy": 0.7}
    assert found["strategies"]["scratch"]["test"] is None
    assert found["stages"]["full"]["seconds"] == 30.0


@pytest.mark.parametrize(("side", "suffix", "size"), [(None, ".jpg", (30, 20)), (16, ".png", (16, 16))])
def test_others_get_the_same_images_in_the_same_split(
    project: Path, tmp_path: Path, side: int | None, suffix: str, size: tuple[int, int]
) -> None:
    """A folder a split and class, as the files are or brought to one size."""
    (project / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        Image.new("L", (30, 20)).save(project / "photos" / name)
    (project / "params.yaml").write_text("data: {path: photos}\n", encoding="utf-8")
    table = {"path": ["a.jpg", "b.jpg"], "split": ["train", "test"], "label": ["x", "y"], "row": [0, 1]}
    pd.DataFrame(table).to_parquet(project / "data/manifest.parquet")
    write_split(project, tmp_path / "images", side)
    written = {file.relative_to(tmp_path / "images").as_posix(): file for file in tmp_path.glob("images/*/*/*")}
    assert set(written) == {f"train/x/00000{suffix}", f"test/y/00001{suffix}"}
    assert all(Image.open(file).size == size for file in written.values())


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two folders with classes of five and seven photographs."""
    for name, count in (("pets/cat", 5), ("flowers/rose", 7), ("flowers/tulip", 7)):
        (tmp_path / name).mkdir(parents=True)
        for place in range(count):
            (tmp_path / name / f"{place}.jpg").write_text(f"{name} {place}")
    return [tmp_path / "pets", tmp_path / "flowers"]


def test_photographs_are_drawn_alike_each_time(folders: list[Path], tmp_path: Path) -> None:
    """The same seed draws the same ones of every class, another one others."""

    def names(name: str, seed: int) -> list[str]:
        return sorted(f"{path.parent.name}/{path.name}" for path in draw(folders, tmp_path / name, 4, seed).glob("*/*"))

    drawn = {name: names(name, seed) for name, seed in (("one", 0), ("again", 0), ("other", 1))}
    assert drawn["one"] == drawn["again"] != drawn["other"]
    assert [sum(name.startswith(label) for name in drawn["one"]) for label in ("cat", "rose", "tulip")] == [4, 4, 4]


def test_too_few_photographs_are_named(folders: list[Path], tmp_path: Path) -> None:
    """Nothing is drawn twice, and no class is left smaller."""
    with pytest.raises(BadParameter, match="fewer than 6 photographs of cat"):
        draw(folders, tmp_path / "drawn", 6)
    with pytest.raises(BadParameter, match="cat is in two"):
        draw([folders[0], folders[0]], tmp_path / "drawn", 2)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A repository with a commit that has params."""
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "params.yaml").write_text("data:\n  size: 288  # pixels\nstrategies:\n  full: {train: all}\n")
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "first")):
        settings = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *settings, *command], cwd=root, check=True)
    return Checkout("after", root, tmp_path / "kept")


def test_the_last_commit_is_measured(checkout: Checkout) -> None:
    """A clone has what is committed; with changes that it lacks nothing is measured."""
    assert len(checkout.revision) == 12
    (checkout.root / "params.yaml").write_text("data: {size: 8}\n")
    with pytest.raises(BadParameter, match=r"--after .+ has changes: commit them"):
        _ = checkout.revision


def test_a_clone_is_fresh(checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what was there before, with an empty home, without the settings of who measures; keys are replaced."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    clone = checkout.clone(tmp_path / "clone")
    home = Path(clone.environment()["HOME"])
    (clone.root / "left").touch()
    (home / "left").touch()
    clone = checkout.clone(tmp_path / "clone", {"data": {"size": 224}})
    environment = clone.environment()
    assert not (clone.root / "left").exists()
    assert list(home.iterdir()) == []
    assert not {"MLFLOW_TRACKING_URI", "OMP_NUM_THREADS"} & environment.keys()
    assert (clone.root / "params.yaml").read_text().startswith("data:\n  size: 224  # pixels\nstrategies:\n  full:")


def test_rows_are_measured_and_kept(tmp_path: Path, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run joins the file; the ratios are printed."""
    fake = {"fake": lambda asked: Row("fake", "what", {"after": Way(lambda: {"seconds": 2.0}, "after-1")})}
    monkeypatch.setattr("tests.benchmarks.minutes.__main__.rows", lambda: fake)
    out = tmp_path / "minutes.json"
    for _ in range(2):
        done = called("--after", checkout.root, "--rows", "fake", "--rounds", 2, "--out", out)
        assert done.exit_code == 0, done.output
    (kept,) = json.loads(out.read_text())["measurements"]
    assert kept["ways"]["after"]["medians"] == {"seconds": 2.0}
    other = tmp_path / "other.json"
    assert called("--merge", out, "--out", other).exit_code == 0
    assert json.loads(other.read_text()) == json.loads(out.read_text())


def test_what_is_missing_is_said_before_anything_runs(checkout: Checkout, tmp_path: Path) -> None:
    """An unknown row, no checkout, no photographs: a sentence each."""
    out = ("--out", tmp_path / "minutes.json")
    assert "--rows: firts is none of" in said(*out, "--after", checkout.root, "--rows", "firts")
    assert "name a checkout to measure" in said(*out, "--rows", "first")
    assert "needs --photos FOLDER" in said(*out, "--after", checkout.root, "--rows", "nothing,photos")
    assert not (tmp_path / "minutes.json").exists()


def said(*arguments: object) -> str:
    """Return what a call that fails says, on one line."""
    done = called(*arguments)
    assert done.exit_code == 2
    return " ".join(word for word in done.output.replace("│", " ").split())


def test_what_racing_cost_is_taken_over(tmp_path: Path) -> None:
    """As its own benchmark wrote it, without a checkout."""
    file, out = tmp_path / "racing.json", tmp_path / "minutes.json"
    file.write_text(json.dumps({"saved": 0.6, "regret": 0.001}))
    done = called("--racing", file, "--rows", "racing", "--rounds", 1, "--out", out)
    assert done.exit_code == 0, done.output
    (kept,) = json.loads(out.read_text())["measurements"]
    assert kept["ways"]["after"]["medians"] == {"saved": 0.6, "regret": 0.001}


def test_every_row_can_be_asked_for(checkout: Checkout, folders: list[Path], tmp_path: Path) -> None:
    """Each has its name, ways that alternate between the versions, and ratios of ways that it has."""
    sides = {side: Checkout(side, checkout.root, tmp_path / "kept") for side in ("before", "after")}
    asked = rows.Asked(sides, tmp_path / "work", Path(sys.executable), tuple(folders), 4, tmp_path / "racing.json")
    for name, make in rows.rows().items():
        row = make(asked)
        assert row.name == name
        assert {ratio.of for ratio in row.ratios} | {ratio.over for ratio in row.ratios} <= set(row.ways)


def test_an_unfinished_comparison_is_said(checkout: Checkout, tmp_path: Path) -> None:
    """What is measured after the first command says that it comes first."""
    asked = rows.Asked({"after": checkout}, tmp_path / "work", None, (), 4, None)
    with pytest.raises(BadParameter, match="measure the row 'first' before"):
        rows.nothing(asked).ways["after"].run()
    assert isinstance(rows._last_line(Clone(tmp_path, tmp_path), "-c", "print('no'); print('{}')"), dict)


def test_answers_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first turn doesn't count, and the median of the others does; time is planted."""
    now, called = 0.0, []

    def way(name: str, seconds: list[float]) -> Any:
        def call() -> None:
            nonlocal now
            now += seconds.pop(0)
            called.append(name)

        return call

    monkeypatch.setattr("tests.benchmarks.forward.time.monotonic", lambda: now)
    ways = {"slow": way("slow", [90.0, 3.0, 5.0, 4.0]), "fast": way("fast", [80.0, 2.0, 2.0, 2.0])}
    assert in_turns(ways, 3) == {"slow": 4.0, "fast": 2.0}
    assert called == ["slow", "fast"] * 4


def test_the_version_in_reach_chooses_how_it_answers() -> None:
    """By a copy of the network, which answers the same up to rounding."""
    model = shufflenet_v2_x0_5(weights=None).eval()
    images = torch.randn(2, 3, 32, 32)
    with ExitStack() as stack:
        engine, answers = choose(model, 32, stack)
        stack.enter_context(torch.inference_mode())
        answer, expected = answers(images).float(), model(images)
    assert engine.split()[-1] in {"float32", "bfloat16"}
    assert (answer - expected).norm() < 0.1 * expected.norm()
