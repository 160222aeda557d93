"""``python -m docs.measured`` renews the tables of docs/about/benchmarks.md from docs/about/measured.json.

``--minutes FILE`` takes over what ``python -m tests.benchmarks.minutes`` wrote, ``--gpu FILE`` what
``python -m tests.benchmarks.gpu`` did, ``--main-job PROJECT`` the table of a project in which ``dvc repro`` has run.
"""

from pathlib import Path
from typing import Annotated

import typer

from docs.measured.figures import MEASURED, read, renewed, taken_from, write
from docs.measured.page import PAGE, rendered
from tests.benchmarks.minutes.turns import merged


def main(
    minutes: Annotated[list[Path] | None, typer.Option(help="JSON of tests.benchmarks.minutes; once or more.")] = None,
    gpu: Annotated[Path | None, typer.Option(help="JSON of tests.benchmarks.gpu.")] = None,
    main_job: Annotated[Path | None, typer.Option(help="A project with data/reports/comparison.json.")] = None,
    machine: Annotated[str, typer.Option(help="With --main-job: a few words for the machine.")] = "",
) -> None:
    """Write the page, and the figures if there are new ones; say which changed."""
    figures = read()
    for file in minutes or ():
        figures["minutes"] = merged(figures["minutes"], taken_from(file)["measurements"])
    if gpu:
        figures["gpu"] = taken_from(gpu)
    if main_job:
        if not machine:
            raise typer.BadParameter("--main-job needs --machine 'cores and processor', which the page names")
        figures["main_job"] = renewed(main_job, machine)
    if minutes or gpu or main_job:
        write(figures)
        typer.echo(f"renewed {MEASURED}")
    before = PAGE.read_text(encoding="utf-8")
    after = rendered(before, figures)
    if after != before:
        PAGE.write_text(after, encoding="utf-8")
        typer.echo(f"renewed {PAGE}")


if __name__ == "__main__":
    typer.run(main)
