"""A copy of the repository in a folder of its own, run as a user runs it."""

import io
import os
import runpy
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from warnings import catch_warnings, simplefilter

from ruamel.yaml import YAML

from flows import environment as told
from tests.support.paths import ROOT

BROUGHT = ("dvc.yaml", "prefect.yaml", ".dvcignore", ".gitignore", "deploy", "tasks", "flows")
LEFT_OUT = shutil.ignore_patterns("__pycache__")
DROPPED = ("PREFECT_", "MLFLOW_", "DVC_", "THAWLINE_")  # settings of the user who runs the tests
WAIT = "240"  # seconds for another run in the same place, which in a test is a lock that nobody lets go of
STRATEGIES: dict[str, Any] = {
    "scratch": {"start": "random", "train": "all", "batchnorm": "train", "lr": 0.002, "epochs": 1},
    "head_only": {"train": "head", "lr": 0.001, "epochs": 5},
}
STEPS = {"network": ("backbone", "--network"), "candidate": ("finetune", "--strategy")}  # of further networks' stages
PREPARE = ("fetch", "prepare", "backbone", "networks")


@dataclass(frozen=True)
class Project:
    """A small project: the slice of real images, two strategies, random backbone weights."""

    root: Path

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command at the root."""
        return subprocess.run(
            command, cwd=self.root, env=self.environment(**environment), capture_output=True, text=True, timeout=400,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def here(self, module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``python -m MODULE`` at the root in this process, which has imported everything already."""
        printed, complaints = io.StringIO(), io.StringIO()
        with self.entered(**environment), redirect_stdout(printed), redirect_stderr(complaints), catch_warnings():
            simplefilter("ignore", RuntimeWarning)  # of runpy, that the module was imported before
            argv, sys.argv = sys.argv, [module, *arguments]
            try:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
                status = 0
            except SystemExit as ended:
                status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            finally:
                sys.argv = argv
        return subprocess.CompletedProcess([module, *arguments], status, printed.getvalue(), complaints.getvalue())

    def steps(self, *names: str, models: bool = False) -> str:
        """Run steps in this process, which must succeed; return what they printed.

        Args:
            names: of DVC's stages.
            models: whether models are logged, which takes most of a small strategy's time.
        """
        printed = ""
        with nullcontext() if models else without_models():
            for name in names:
                stage, _, of = name.partition("@")
                step, option = STEPS.get(stage, (stage, "--strategy"))
                arguments = [option, of.replace("-", "/", 1) if stage == "candidate" else of] if of else []
                done = self.here("tasks", step, *arguments)
                assert done.returncode == 0, done.stdout + done.stderr
                printed += done.stdout + done.stderr
        return printed

    def compare(self, *, models: bool = False) -> str:
        """Run every step in this process, from the images to the report, as DVC would; return what they printed."""
        params = self.params()
        networks, strategies = params.get("backbones", {}), params["strategies"]
        tuned = [f"finetune@{name}" for name in strategies]
        tuned += [f"candidate@{network}-{name}" for network in networks for name in strategies]
        fetched = [f"network@{network}" for network in networks]
        return self.steps(*PREPARE, *fetched, "screen", "probe", "race", *tuned, "compare", models=models)

    @contextmanager
    def entered(self, **environment: str) -> Iterator[None]:
        """Let this process be at the root, with the environment of the project's commands."""
        before, folder = dict(os.environ), Path.cwd()
        path = list(sys.path)
        server = _prefect(environment.get("PREFECT_API_URL"))
        store = {"MLFLOW_TRACKING_URI": f"sqlite:///{self.root / 'mlflow.db'}"}  # MLflow keeps stores by their address
        _set(self.environment(**told.DEFAULTS | store | environment))  # a process is told once
        os.chdir(self.root)
        try:
            with server:
                yield
        finally:
            os.chdir(folder)
            _set(before)
            sys.path[:] = path
            _forget_modules_below(self.root)

    def environment(self, **own: str) -> dict[str, str]:
        """Return this environment's tools without any of the user's settings."""
        env = {key: value for key, value in os.environ.items() if not key.startswith(DROPPED)}
        return env | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}",
            "PREFECT_HOME": str(self.root / ".prefect"),
            "PYTHONPATH": str(self.root),
            "COLUMNS": "200",
            "THAWLINE_WAIT": WAIT,
            **own,
        }

    def copy(self, root: Path) -> "Project":
        """Return a copy of all that is in the project, with what it has made and recorded."""
        shutil.copytree(self.root, root, symlinks=True)
        _move_store(root / "mlflow.db", str(self.root), str(root))
        return Project(root)

    def params(self) -> dict[str, Any]:
        """Return the params as they are."""
        content: dict[str, Any] = YAML(typ="safe").load(self.root / "params.yaml")
        return content

    def write_params(self, params: dict[str, Any]) -> None:
        """Replace the params."""
        with (self.root / "params.yaml").open("w", encoding="utf-8") as stream:
            YAML(typ="safe").dump(params, stream)

    def files(self) -> set[str]:
        """Return the data files that are there, whole or half-written."""
        return {p.relative_to(self.root).as_posix() for p in (self.root / "data").rglob("*") if p.is_file()}


@contextmanager
def without_models() -> Iterator[None]:
    """Let this process log no model to a run, neither as files nor as a program."""
    with mock.patch("tasks.tracking.log_model"), mock.patch("tasks.tracking.log_program"):
        yield


def make_project(root: Path, images: Path, train: dict[str, Any] | None = None) -> Project:
    """Copy the repository to ``root`` with params for ``images``, and own ones of ``train``."""
    root.mkdir()
    for name in BROUGHT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=LEFT_OUT)
        else:
            shutil.copy(ROOT / name, root / name)
    (root / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, root / ".dvc" / name)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    project = Project(root)
    project.write_params(
        {
            "data": {"source": "folder", "path": str(images), "size": 48},
            "split": {"validation": 0.25, "test": 0.25, "seed": 0, "folds": False},
            "backbone": {"name": "shufflenet_v2_x0_5", "weights": "none"},
            "backbones": {},
            "screen": {},
            "augment": {"flips": True, "quarter_turns": False},
            "train": {"batch_size": 16, "seed": 0, **(train or {})},
            "compare": {"metric": "auroc", "resamples": 200, "robustness_images": 0},
            "strategies": STRATEGIES,
        }
    )
    return project


def _move_store(database: Path, before: str, after: str) -> None:
    """Let MLflow's store name the artifacts where a copy of the project has them."""
    with closing(sqlite3.connect(database)) as store, store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = [(table, column[1]) for table in tables for column in store.execute(f"PRAGMA table_info('{table}')")]
        for table, column in columns:
            store.execute(
                f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) '  # noqa: S608 - names of its own tables
                f'WHERE typeof("{column}") = \'text\' AND "{column}" LIKE ?',
                (before, after, f"%{before}%"),
            )


def _forget_modules_below(root: Path) -> None:
    """Let the next project import its own code where it has the same name."""
    for name, module in list(sys.modules.items()):
        file = vars(module).get("__file__")  # a module that is loaded when it is used is left alone
        if file and Path(file).is_relative_to(root):
            del sys.modules[name]


def _set(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _prefect(api: str | None) -> Any:
    """Return a context in which Prefect's settings, which a process reads once, name a server.

    It is made before the environment names the server, which the process would not forget again.
    """
    if not api:
        return nullcontext()
    from prefect.settings import PREFECT_API_URL, temporary_settings

    return temporary_settings({PREFECT_API_URL: api})
