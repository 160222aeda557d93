"""The tests again and again, to find those that don't always pass: ``python -m tests.benchmarks.repeated``.

Every run is one of its own: new processes, new folders, an empty home. Exits with status 1 if any run failed.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from tests.support.paths import ROOT

DEFAULT = "not system and not slow"
OUTCOME = re.compile(r"^(FAILED|ERROR) (\S+)", re.M)


def main(
    times: Annotated[int, typer.Option(help="Runs with each number of processes.")] = 10,
    workers: Annotated[list[int], typer.Option(help="Numbers of processes.")] = [2, 4],  # noqa: B006
    tier: Annotated[str, typer.Option(help="A marker expression of pytest; empty: the default tier.")] = DEFAULT,
    logs: Annotated[Path, typer.Option(help="Folder for what failed runs print.")] = Path("data/work/repeated"),
) -> None:
    """Run the tests several times, print how each run ended, and which tests failed how often."""
    failures: Counter[str] = Counter()
    for count in workers:
        for place in range(1, times + 1):
            began = time.monotonic()
            status, output = _run(count, tier)
            failed = [name for _, name in OUTCOME.findall(output)] or ["the run itself"] * (status != 0)
            failures.update(failed)
            summary = output.strip().splitlines()[-1]
            print(f"-n {count}, run {place}: {summary} ({time.monotonic() - began:.0f} s)", flush=True)
            if failed:
                logs.mkdir(parents=True, exist_ok=True)
                (logs / f"{count}-{place}.txt").write_text(output, encoding="utf-8")
    for name, number in failures.most_common():
        print(f"failed {number} times: {name}")
    raise typer.Exit(bool(failures))


def _run(workers: int, tier: str) -> tuple[int, str]:
    """Return the exit status of a run of the tests, and what it prints."""
    with tempfile.TemporaryDirectory(prefix="repeated-") as folder:
        home = Path(folder, "home")
        home.mkdir()
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-n",
            str(workers),
            "-m",
            tier,
            "--basetemp",
            str(Path(folder, "base")),
        ]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"HOME": str(home)}, capture_output=True, text=True, check=False
        )
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    typer.run(main)
