"""A verdict in minutes: two versions of the project, and others, measured in turns.

``python -m tests.benchmarks.minutes --before CHECKOUT --after CHECKOUT --out minutes.json``. A row may be measured
alone (``--rows first,photos``); runs join those that the file has already, of the same revisions and machine.
``--merge OTHER.json`` takes over what was measured elsewhere. Of each checkout the last commit is measured, in fresh
clones with empty caches but for the weights' files.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tests.benchmarks.minutes.checkouts import Checkout
from tests.benchmarks.minutes.machine import machine
from tests.benchmarks.minutes.rows import Asked, rows
from tests.benchmarks.minutes.turns import Measurement, measured, merged

WORK = Path("data/work/minutes")


def main(
    out: Annotated[Path, typer.Option(help="JSON that takes what is measured.")],
    before: Annotated[Path | None, typer.Option(help="A checkout; without it the other one is measured alone.")] = None,
    after: Annotated[Path | None, typer.Option(help="A checkout of the later version.")] = None,
    names: Annotated[str, typer.Option("--rows", help="Names between commas, or all.")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each way, in turns; results are their medians.")] = 3,
    folder: Annotated[Path, typer.Option(help="Where clones, images and logs are kept.")] = WORK,
    peer_python: Annotated[Path | None, typer.Option(help="A Python that has fastai.")] = None,
    photos: Annotated[list[Path] | None, typer.Option(help="Has photographs, a folder a class; once or more.")] = None,
    a_class: Annotated[int, typer.Option(min=2, help="Photographs that are drawn of each class.")] = 40,
    racing: Annotated[Path | None, typer.Option(help="JSON of python -m tests.benchmarks.racing replay.")] = None,
    merge: Annotated[list[Path] | None, typer.Option(help="Other files like --out, whose runs are taken over.")] = None,
) -> None:
    """Measure rows, and write their medians and ratios as JSON."""
    sides = {"before": before, "after": after}
    kept = folder / "kept"
    checkouts = {side: Checkout(side, root, kept) for side, root in sides.items() if root}
    asked = Asked(checkouts, folder, peer_python, tuple(photos or ()), a_class, racing)
    for other in merge or ():
        _keep(out, read(other))
    chosen = _chosen(names)
    if not checkouts and set(chosen) - {"racing"}:
        raise typer.BadParameter("name a checkout to measure: --after CHECKOUT, or --before too")
    made = {name: rows()[name](asked) for name in chosen}  # what is missing is said before an hour has passed
    for name, row in made.items():
        last: Measurement | None = None
        for last in measured(row, rounds, machine(), typer.echo):
            _keep(out, [last])
        for ratio, value in (last or {}).get("ratios", {}).items():
            typer.echo(f"{name}: {ratio} {value:.3g}")


def read(file: Path) -> list[Measurement]:
    """Return the measurements of a file; none if it isn't there yet.

    Raises:
        typer.BadParameter: it is no such file.
    """
    if not file.is_file():
        return []
    content: Any = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("measurements"), list):
        raise typer.BadParameter(f"{file} was not written by this command: it has no 'measurements'")
    return list(content["measurements"])


def _keep(out: Path, measurements: list[Measurement]) -> None:
    """Add measurements to the file, whole or not at all."""
    content = {"measurements": merged(read(out), measurements)}
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f"{out.name}.part")
    unfinished.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(out)


def _chosen(names: str) -> list[str]:
    every = list(rows())
    chosen = every if names == "all" else [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in chosen if name not in every]:
        raise typer.BadParameter(f"--rows: {unknown[0]} is none of {', '.join(every)}")
    return chosen


if __name__ == "__main__":
    typer.run(main)
