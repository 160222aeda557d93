"""Whether two versions of the code give the same results, bit by bit.

``python -m tests.benchmarks.equality --make CHECKOUT FOLDER`` makes a project in FOLDER by the code of a checkout and
runs it; ``python -m tests.benchmarks.equality BEFORE AFTER`` compares two such projects, and exits with 1 if they
differ. What tells runs from each other by nature is left out: time, memory, ids, and the versions of code and packages.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

RESULTS = (
    "data/manifest.parquet", "data/quality.json", "data/probe.json", "data/runs/**/model.safetensors",
    "data/runs/**/predictions.parquet", "data/runs/**/history.csv", "data/runs/**/metrics.json",
    "data/runs/**/run.json", "data/reports/predictions.parquet", "data/reports/comparison.json",
)  # fmt: skip
# What differs between two runs, by its key or a part of it: time, what follows from time, memory, ids, the code itself.
BY_NATURE = {
    "images_a_second", "milliseconds", "saved", "efficient", "test_read_at", "recorded_run_id", "made_with", "identity",
}  # fmt: skip
PARTS_BY_NATURE = ("seconds", "memory", "mlflow")
PROGRAM = Path(__file__).with_name("widened_project.py")
SHOWN = 5  # differences of a file


def results(project: Path) -> dict[str, Path]:
    """Return the files with a project's results, by their path in it."""
    files = (file for pattern in RESULTS for file in sorted(project.glob(pattern)) if file.is_file())
    return {file.relative_to(project).as_posix(): file for file in files}


def differences(before: Path, after: Path) -> dict[str, list[str]]:
    """Return what differs between two projects, by file; files in which nothing differs are left out."""
    left, right = results(before), results(after)
    if not left or not right:
        raise typer.BadParameter(f"there are no results in {before if not left else after}")
    by_file = {}
    for name in sorted(left.keys() | right.keys()):
        if name not in left or name not in right:
            by_file[name] = [f"only {'before' if name in left else 'after'}"]
        elif differing := list(_compared(left[name], right[name])):
            by_file[name] = differing
    return by_file


def _compared(before: Path, after: Path) -> Iterator[str]:
    """Yield what differs between two files of a kind."""
    if before.suffix == ".json":
        yield from _of_values(*(json.loads(file.read_text(encoding="utf-8")) for file in (before, after)))
    elif before.suffix == ".csv":
        yield from _of_tables(*(pd.read_csv(file, dtype=str, keep_default_na=False) for file in (before, after)))
    elif _digest(before) != _digest(after):
        yield f"bytes: {_digest(before)[:12]} → {_digest(after)[:12]}"


def _of_tables(before: pd.DataFrame, after: pd.DataFrame) -> Iterator[str]:
    tables = [table[[name for name in table.columns if not differs_by_nature(name)]] for table in (before, after)]
    yield from _of_values(*(table.to_dict("list") for table in tables))


def _of_values(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Yield each place at which two values, as JSON has them, differ, but for what does so by nature."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            if not differs_by_nature(key):
                yield from _of_values(before.get(key), after.get(key), f"{place}.{key}" if place else key)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for position, (one_value, other_value) in enumerate(zip(before, after, strict=True)):
            yield from _of_values(one_value, other_value, f"{place}[{position}]")
    elif repr(before) != repr(after):  # which keeps every bit of a number, and that of NaN
        yield f"{place}: {_short(before)} → {_short(after)}"


def differs_by_nature(key: str) -> bool:
    """Return whether what has a key differs between two runs of the same code."""
    return key in BY_NATURE or any(part in key for part in PARTS_BY_NATURE)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


def make(checkout: Path, folder: Path) -> None:
    """Make and run a project by the code of a checkout, in a folder that is not there yet."""
    subprocess.run(
        [sys.executable, "-P", PROGRAM, folder.absolute()],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout.absolute()), "OMP_NUM_THREADS": "1"},
        check=True,
    )


def main(
    before: Annotated[Path, typer.Argument(help="A project; with --make, the checkout whose code makes one.")],
    after: Annotated[Path, typer.Argument(help="Another project; with --make, the folder that it is made in.")],
    makes: Annotated[bool, typer.Option("--make", help="Make and run a project instead of comparing two.")] = False,
) -> None:
    """Compare the results of two projects bit by bit, or make a project to compare."""
    if makes:
        make(before, after)
        return
    differing = differences(before, after)
    for name, places in differing.items():
        more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        typer.echo(f"{name}: {'; '.join(places[:SHOWN])}{more}")
    typer.echo(f"{len(results(before))} files of results, {len(differing)} of which differ")
    raise typer.Exit(bool(differing))


if __name__ == "__main__":
    typer.run(main)
