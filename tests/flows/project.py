"""A copy of the repository in a folder of its own, run as a user runs it."""

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.conftest import ROOT

BROUGHT = ("dvc.yaml", "prefect.yaml", ".dvcignore", ".gitignore", "deploy", "tasks", "flows")
LEFT_OUT = shutil.ignore_patterns("__pycache__")
STRATEGIES: dict[str, Any] = {
    "scratch": {"start": "random", "train": "all", "batchnorm": "train", "lr": 0.002, "epochs": 1},
    "head_only": {"train": "head", "lr": 0.001, "epochs": 5},
}


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


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

    def environment(self, **own: str) -> dict[str, str]:
        """Return this environment's tools without any of the user's settings."""
        dropped = ("PREFECT_", "MLFLOW_", "DVC_", "THAWLINE_")
        env = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        return env | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}",
            "PREFECT_HOME": str(self.root / ".prefect"),
            "PYTHONPATH": str(self.root),
            "COLUMNS": "200",
            **own,
        }

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


def make_project(root: Path, images: Path, train: dict[str, Any] | None = None) -> Project:
    """Copy the repository to ``root`` with params for ``images``, and own ones of ``train``."""
    root.mkdir()
    for name in BROUGHT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=LEFT_OUT)
        else:
            shutil.copy(ROOT / name, root / name)
    (root / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", root / ".dvc" / "config")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    project = Project(root)
    project.write_params(
        {
            "data": {"source": "folder", "path": str(images), "size": 48},
            "split": {"validation": 0.25, "test": 0.25, "seed": 0},
            "backbone": {"name": "shufflenet_v2_x0_5", "weights": "none"},
            "augment": {"flips": True, "quarter_turns": False},
            "train": {"batch_size": 16, "seed": 0, **(train or {})},
            "compare": {"metric": "auroc", "resamples": 200},
            "strategies": STRATEGIES,
        }
    )
    return project
