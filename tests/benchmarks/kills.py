"""Comparisons killed at random moments and started again: ``python -m tests.benchmarks.kills``.

A small project runs undisturbed first. Copies of it are then started by alternating doors, their whole process group
is killed by SIGKILL, and they are started again by the same command. Which of the stages still ahead is hit is drawn,
each as likely (and as likely none, so that some runs end); for one that is skipped the next stands in. The moment in
it is drawn uniformly from the time that it takes undisturbed. Whenever a run gets to its end, all that it left is held
against the undisturbed run, bit by bit, and a part of it or all is made stale for the next. Exits with status 1 if
anything was lost.
"""

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from tests.support.cells import write_cells
from tests.support.project import Project, make_project

DOORS = {"dvc repro": ("dvc", "repro"), "flows.compare": (sys.executable, "-m", "flows.compare")}
STARTS = re.compile(r"Running stage '([^']+)'|\brunning ((?:fetch|prepare|backbone|probe|race|compare|finetune@\w+))$")
BEFORE, END = "before a stage", "end"
STRATEGIES: dict[str, Any] = {
    "scratch": {"start": "random", "train": "all", "lr": 0.002, "epochs": 6},
    "solved": {"train": "head", "solver": "lbfgs"},
    "frozen": {"train": ["stages[-1]", "head"], "lr": 0.001, "epochs": 8, "views": 2},
    "gradual": {"train": "all", "gradual": 2, "lr": 0.001, "epochs": 12},
}
SEEDS = (0, 1)
# What is removed for a run that starts from nothing, as after a clone; and for one that lost its outputs alone.
EVERYTHING = ("data", "dvc.lock", ".dvc/cache", ".dvc/tmp", ".prefect", "mlflow.db", "mlruns", "mlartifacts")
OUTPUTS = ("data/runs", "data/reports", "data/race", "data/probe.json", "data/backbone", "data/manifest.parquet")
# Files with times, memory or ids of runs in them, whose digests differ between any two runs.
MEASURED = re.compile(r"data/runs(/\w+/(run|metrics)\.json)?|data/reports/comparison\.(html|json)")
EXACT = ("data/runs/*/model.safetensors", "data/runs/*/predictions.parquet", "data/runs/*/history.csv",
         "data/reports/predictions.parquet", "data/manifest.parquet", "data/pixels.npy")  # fmt: skip
UNSEEN = {".git", ".prefect", "cache", "mlruns", "mlartifacts", "__pycache__"}
CUT_SHORT = "'./dvc.lock' validation failed"
LONGEST = 600.0  # seconds of a run; longer is hanging


@dataclass
class Started:
    """A comparison that was started in a process group of its own, and when it reached which stage."""

    project: Project
    door: str
    began: float = field(default_factory=time.monotonic)
    stages: dict[str, float] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start it."""
        self.process = subprocess.Popen(
            DOORS[self.door], cwd=self.project.root, env=self.project.environment(), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def reaches(self, aims: Sequence[str]) -> bool:
        """Wait until it reaches one of some stages; return whether it does before it ends, or hangs."""
        while not {BEFORE, *self.stages} & {*aims} and not self.hangs:
            if self.ends_within(0.02):
                return False
        return not self.hangs

    @property
    def hangs(self) -> bool:
        """Whether it has run for longer than any run needs."""
        return time.monotonic() - self.began > LONGEST

    def ends_within(self, seconds: float) -> bool:
        """Return whether it ends by itself within a time."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._reader.join(10)
        return True

    def kill(self) -> list[str]:
        """Kill its process group; return the processes of it that live on, which are ended, too."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        _, alive = psutil.wait_procs(family, timeout=20)
        names = []
        for process in alive:
            names.append(" ".join(process.cmdline())[:120])
            process.kill()
        return names

    @property
    def stage(self) -> str:
        """The stage that it reached last."""
        return list(self.stages)[-1] if self.stages else BEFORE

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            start = STARTS.search(line.rstrip())
            if start:
                self.stages[start[1] or start[2]] = time.monotonic() - self.began


@dataclass(frozen=True)
class Left:
    """What a comparison left that another one by the same params has to leave, too."""

    exact: dict[str, str]
    lock: dict[str, Any]
    files: frozenset[str]

    @classmethod
    def by(cls, project: Project) -> "Left":
        """Read it."""
        files = sorted(path for pattern in EXACT for path in project.root.glob(pattern))
        exact = {str(path.relative_to(project.root)): sha256(path.read_bytes()).hexdigest() for path in files}
        lock = YAML(typ="safe").load(project.root / "dvc.lock")
        for stage in lock["stages"].values():
            for entry in (*stage.get("deps", ()), *stage.get("outs", ())):
                if MEASURED.fullmatch(entry["path"]):
                    entry["md5"] = entry["size"] = None
        return cls(exact, lock, frozenset(_files(project.root)))

    def differences(self, other: "Left") -> list[str]:
        """Return in what another differs."""
        wrongs = [f"{name} differs" for name in sorted(self.exact) if self.exact[name] != other.exact.get(name)]
        if self.lock != other.lock:
            mine, others = self.lock["stages"], other.lock["stages"]
            differing = sorted(name for name in {*mine, *others} if mine.get(name) != others.get(name))
            wrongs.append(f"dvc.lock differs in {', '.join(differing)}")
        wrongs += [f"{name} is missing" for name in sorted(self.files - other.files)]
        return wrongs + [f"{name} was left" for name in sorted(other.files - self.files)]


@dataclass
class Tally:
    """What happened, counted over all copies."""

    wanted: int
    lock: Any = field(default_factory=threading.Lock)
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    restarts: int = 0
    completed: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    mended: int = 0
    losses: list[str] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether enough was killed."""
        return self.kills.total() >= self.wanted


class Copy:
    """One copy of the project, killed and started again until enough was killed."""

    def __init__(
        self, name: str, project: Project, expected: dict[int, Left], seconds: dict[str, dict[str, float]],
        tally: Tally, draw: random.Random, console: Console,
    ) -> None:  # fmt: skip
        self._name, self._project, self._expected, self._seconds = name, project, expected, seconds
        self._tally, self._draw, self._console = tally, draw, console
        self._seed, self._doors = 0, draw.randrange(2)
        self._known: set[str] = set()

    def run(self) -> None:
        """Make something stale, and kill what makes it again, over and over."""
        while not self._tally.is_done:
            self._until_complete(self._make_stale())

    def _make_stale(self) -> str:
        """Make a part of what is there stale; return what was done."""
        how = self._draw.choice(("from nothing", "outputs removed", "another seed"))
        if how == "another seed":
            self._change_seed()
        for name in {"from nothing": EVERYTHING, "outputs removed": OUTPUTS}.get(how, ()):
            path = self._project.root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if how == "from nothing":
            self._known.clear()
        return how

    def _change_seed(self) -> None:
        self._seed = SEEDS[1 - self._seed]
        _set_seed(self._project, self._seed)

    def _until_complete(self, how: str) -> None:
        reached, kills = BEFORE, 0
        while True:
            door = list(DOORS)[self._doors % 2]
            self._doors += 1
            started = Started(self._project, door)
            self._tally.restarts += kills > 0
            aims, share = [END] if self._tally.is_done else self._draw_aims(door, reached), self._draw.random()
            seconds = share * self._seconds_of(door, started.stage) if started.reaches(aims) else 0.0
            if started.ends_within(seconds):
                if any(CUT_SHORT in line for line in started.lines) and self._is_mended():
                    continue
                break
            stage, survivors = started.stage, started.kill()
            if started.hangs:
                self._lose(f"{door} did not end within {LONGEST:.0f} seconds", started)
                return
            kills += 1
            reached = stage if stage != BEFORE else reached
            self._console.print(f"{self._name}: {how}: {door} killed after {seconds:.1f} s in '{stage}'")
            with self._tally.lock:
                self._tally.kills[door, stage] += 1
                self._tally.resumed += any("goes on after" in line for line in started.lines)
            for survivor in dict.fromkeys(survivors):
                self._lose(f"{door} killed in '{stage}': '{survivor}' lived on", None)
            if self._draw.random() < 0.1:
                self._change_seed()
                reached = BEFORE
        with self._tally.lock:
            self._tally.completed[door] += 1
            self._tally.resumed += any("goes on after" in line for line in started.lines)
        wrong = self._wrongs(started)
        self._console.print(
            f"{self._name}: {how}: {door} complete after {kills} kills: {'; '.join(wrong) or 'as undisturbed'} "
            f"({self._tally.kills.total()} kills so far)"
        )
        if wrong:
            self._lose(f"{how}, {kills} kills, completed by {door}: {'; '.join(wrong)}", started)

    def _draw_aims(self, door: str, reached: str) -> list[str]:
        """Draw where a run is killed that goes on with a stage: the first of these that it gets to."""
        names = list(self._seconds[door])
        ahead = [BEFORE, *(names if reached == BEFORE else names[names.index(reached) :])]
        return ahead[self._draw.randrange(len(ahead)) :]

    def _seconds_of(self, door: str, stage: str) -> float:
        """Return how long a run is in a stage, undisturbed."""
        starts = [0.0, *self._seconds[door].values()]
        place = [BEFORE, *self._seconds[door]].index(stage)
        return starts[place + 1] - starts[place]

    def _is_mended(self) -> bool:
        """Return whether a ``dvc.lock`` that DVC was killed over, and which it refuses from then on, was put back."""
        done = self._project.run(sys.executable, "-m", "tasks", "mend")
        self._console.print(f"{self._name}: {done.stdout.strip()}")
        with self._tally.lock:
            self._tally.mended += 1
        return "put back" in done.stdout or "removed" in done.stdout

    def _wrongs(self, started: Started) -> list[str]:
        """Return what a run that got to its end left otherwise than it should have."""
        if started.process.returncode:
            return [f"exit status {started.process.returncode}: {' | '.join(started.lines[-6:])}"]
        status = self._project.run("dvc", "status")
        wrongs = (
            []
            if "up to date" in status.stdout
            else [f"dvc status: {' '.join((status.stdout + status.stderr).split())}"]
        )
        wrongs += self._expected[self._seed].differences(Left.by(self._project))
        return wrongs + _lost_in_mlflow(self._project, self._known)

    def _lose(self, what: str, started: Started | None) -> None:
        """Count a loss; keep the folder for a look at it, and go on from nothing."""
        self._tally.losses.append(f"{self._name}: {what}")
        self._console.print(f"[red]{self._name}: LOST: {what}")
        if started is None:
            return
        kept = self._project.root.with_name(f"{self._name}-lost-{len(self._tally.losses)}")
        shutil.copytree(self._project.root, kept, symlinks=True)
        (kept / "printed.txt").write_text("\n".join(started.lines))
        for name in EVERYTHING:
            path = self._project.root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self._known.clear()


def main(
    kills: Annotated[int, typer.Option(min=1, help="How often a run is killed.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    copies: Annotated[int, typer.Option(min=1, help="Copies that run side by side.")] = 1,
    folder: Annotated[
        Path | None, typer.Option(help="Where to work, and what was lost stays; default: nowhere.")
    ] = None,
) -> None:
    """Kill comparisons and print what was lost."""
    os.environ["OMP_NUM_THREADS"] = "1"
    console, began = Console(highlight=False, soft_wrap=True), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as temporary:
        work = folder or Path(temporary)
        work.mkdir(exist_ok=True)
        images = write_cells(work / "photos", 40)
        expected, seconds = _undisturbed(work, images, console)
        tally = Tally(kills)
        with ThreadPoolExecutor(copies) as pool:
            made = [
                Copy(f"copy {n}", _project(work / f"copy-{n}", images), expected, seconds, tally,
                     random.Random(f"{seed}-{n}"), console)  # noqa: S311
                for n in range(copies)
            ]  # fmt: skip
            for copy in [pool.submit(copy.run) for copy in made]:
                copy.result()
    _show(tally, seconds, console)
    console.print(f"seed {seed}, {(time.monotonic() - began) / 60:.0f} minutes")
    raise typer.Exit(1 if tally.losses else 0)


def _undisturbed(work: Path, images: Path, console: Console) -> tuple[dict[int, Left], dict[str, dict[str, float]]]:
    """Run once by each door; return what is left, by seed, and when each door reached which stage, and its end."""
    left: dict[int, list[Left]] = {seed: [] for seed in SEEDS}
    seconds = {}
    for place, door in enumerate(DOORS):
        project = _project(work / f"undisturbed-{place}", images)
        for seed in SEEDS:
            _set_seed(project, seed)
            started = Started(project, door)
            if not started.ends_within(LONGEST) or started.process.returncode:
                console.print("\n".join(started.lines[-30:]))
                raise typer.Exit(1)
            if seed == SEEDS[0]:
                seconds[door] = started.stages | {END: time.monotonic() - started.began}
            left[seed].append(Left.by(project))
        words = ", ".join(f"{stage} at {at:.0f}" for stage, at in seconds[door].items())
        console.print(f"{door}, undisturbed, seconds: {words}")
    for seed, (first, other) in left.items():
        for difference in first.differences(other):
            console.print(f"[red]the doors differ undisturbed, seed {seed}: {difference}")
    return {seed: first for seed, (first, _) in left.items()}, seconds


def _project(root: Path, images: Path) -> Project:
    """Return a project with strategies of all kinds, which writes a checkpoint after every step."""
    project = make_project(root, images)
    project.write_params(project.params() | {"run": {"checkpoint_seconds": 0}, "strategies": STRATEGIES})
    return project


def _set_seed(project: Project, seed: int) -> None:
    params = project.params()
    params["train"]["seed"] = seed
    project.write_params(params)


def _files(root: Path) -> set[str]:
    """Return the files of a project that a person or the next run would find."""
    files = set()
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in UNSEEN]
        files |= {str(Path(folder, name).relative_to(root)) for name in names}
    # digests that differ between the seeds, the logs and locks of DVC, and those of SQLite
    return {re.sub(r"[0-9a-f]{12,}", "…", name) for name in files if not re.match(r"\.dvc/tmp/|mlflow\.db-", name)}


def _lost_in_mlflow(project: Project, known: set[str]) -> list[str]:
    """Return what the tracking store does not have, or says wrongly."""
    with closing(sqlite3.connect(project.root / "mlflow.db")) as database:
        runs = dict(database.execute("SELECT run_uuid, status FROM runs"))
        names = dict(database.execute("SELECT run_uuid, name FROM runs"))
        lost = [f"MLflow's run {names[run]} is RUNNING" for run, status in runs.items() if status == "RUNNING"]
        for file in sorted(project.root.glob("data/runs/*/run.json")):
            run = re.findall(r'"mlflow_run_id": "(\w+)"', file.read_text())[0]
            if runs.get(run) != "FINISHED":
                lost.append(f"MLflow's run of {file.parent.name} is {runs.get(run, 'lost')}")
            epochs = len(file.with_name("history.csv").read_text().splitlines()) - 1
            query = "SELECT count(*), count(DISTINCT step) FROM metrics WHERE run_uuid = ? AND key = 'epoch/val_loss'"
            counts = database.execute(query, (run,)).fetchone()
            if counts != (epochs, epochs):
                lost.append(f"MLflow's run of {file.parent.name} has {counts} points of {epochs}")
    lost += [f"MLflow lost the run {run}" for run in known - runs.keys()]
    known |= runs.keys()
    return lost


def _show(tally: Tally, seconds: dict[str, dict[str, float]], console: Console) -> None:
    """Print what was killed where, and what was lost."""
    shown = Table("killed in", *DOORS)
    stages = list(dict.fromkeys([BEFORE, *next(iter(seconds.values())), *(stage for _, stage in tally.kills)]))
    for stage in stages:
        if stage != END:
            shown.add_row(stage, *(str(tally.kills[door, stage]) for door in DOORS))
    shown.add_row("all", *(str(sum(n for (by, _), n in tally.kills.items() if by == door)) for door in DOORS))
    console.print(shown)
    console.print(
        f"{tally.kills.total()} kills, {tally.restarts} restarts, {tally.completed.total()} runs complete "
        f"({', '.join(f'{count} by {door}' for door, count in tally.completed.items())}), trainings went on from a "
        f"checkpoint in {tally.resumed} runs, dvc.lock cut short by DVC's death and mended "
        f"{tally.mended} times, losses: {len(tally.losses)}"
    )
    for loss in tally.losses:
        console.print(f"  {loss}")


if __name__ == "__main__":
    typer.run(main)
