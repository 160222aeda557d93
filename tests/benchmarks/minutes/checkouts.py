"""A checkout of the project whose commands are measured: fresh clones of it, run as a newcomer runs them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from ruamel.yaml import YAML

from tests.benchmarks.minutes.machine import Watched, watched

DROPPED = ("PREFECT_", "MLFLOW_", "DVC_", "THAWLINE_", "XDG_", "OMP_", "MKL_", "PYTHON")  # settings of who measures


@dataclass(frozen=True)
class Checkout:
    """A version of the project.

    Attributes:
        side: ``before`` or ``after``.
        root: its working copy, of which the last commit is measured.
        kept: folder for what is fetched once: images and weights.
    """

    side: str
    root: Path
    kept: Path

    @property
    def revision(self) -> str:
        """The commit.

        Raises:
            typer.BadParameter: the folder is no git repository, or has changes that a clone wouldn't have.
        """
        done = [
            subprocess.run(["git", *command], cwd=self.root, capture_output=True, text=True, check=False)
            for command in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
        if any(one.returncode for one in done):
            raise typer.BadParameter(f"--{self.side} {self.root} is no git repository with a commit")
        if done[1].stdout:
            raise typer.BadParameter(f"--{self.side} {self.root} has changes: commit them, as its clones are measured")
        return done[0].stdout.strip()

    def clone(self, folder: Path, params: Mapping[str, Mapping[str, Any]] | None = None) -> "Clone":
        """Return a fresh clone at ``folder``, with some keys of its params replaced; what was there is removed."""
        for earlier in (folder, _home_of(folder)):
            shutil.rmtree(earlier, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "clone", "-q", str(self.root.absolute()), str(folder)], check=True)
        clone = Clone(folder.absolute(), self.kept.absolute())
        if params:
            clone.change(params)
        return clone

    def fetch_once(self, folder: Path) -> None:
        """Let the cache of weights have what the first command needs, so that nobody's network is measured."""
        clone = self.clone(folder)
        for step in ("fetch", "prepare", "backbone"):
            clone.python("-m", "tasks", step, HOME=os.environ.get("HOME", str(folder)))


@dataclass(frozen=True)
class Clone:
    """A fresh clone, or what its commands made of it; its caches are empty at first, but for the weights' files."""

    root: Path
    kept: Path

    def change(self, params: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace keys of sections of params.yaml, and leave the rest as it is."""
        yaml, file = YAML(), self.root / "params.yaml"
        content = yaml.load(file)
        for section, keys in params.items():
            if section == "strategies":
                content[section] = dict(keys)
            else:
                content.setdefault(section, {}).update(keys)
        with file.open("w", encoding="utf-8") as stream:
            yaml.dump(content, stream)

    def run(self, *command: str, log: str = "", **environment: str) -> Watched:
        """Run a command at the root, as a shell with its environment activated does."""
        return watched(
            command, self.root, self.environment(**environment), self.root.parent / f"{log}.log" if log else None
        )

    def python(self, *arguments: str, log: str = "", **environment: str) -> Watched:
        """Run Python at the root."""
        return self.run(sys.executable, *arguments, log=log, **environment)

    def environment(self, **own: str) -> dict[str, str]:
        """Return this environment's tools, an empty home, and none of the settings of who measures."""
        home = _home_of(self.root)
        home.mkdir(exist_ok=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(DROPPED)}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
            "HOME": str(home),
            "DVC_SITE_CACHE_DIR": str(home / "dvc"),
            "THAWLINE_CACHE": str(self.kept / "cache"),
            "TORCH_HOME": str(self.kept / "torch"),
            "PYTHONPATH": str(self.root),
            "PYTHONUNBUFFERED": "1",  # a line counts when it is printed
            **own,
        }


def _home_of(clone: Path) -> Path:
    return clone.with_name(f"{clone.name}-home")
