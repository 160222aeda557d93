"""The page of figures: what stands between ``<!-- measured: NAME -->`` and ``<!-- end -->`` is made from them."""

import re
from collections.abc import Callable
from pathlib import Path

from docs.measured import gpu, minutes
from docs.measured.figures import METRICS, Figures
from docs.reference.markdown import code, table

PAGE = Path(__file__).parents[1] / "about" / "benchmarks.md"
PLACE = re.compile(r"<!-- measured: (?P<name>\w+) -->\n.*?<!-- end -->", re.S)
COMMAND = "python -m docs.measured"


def rendered(page: str, figures: Figures) -> str:
    """Return the page with each of its places filled from the figures.

    Raises:
        KeyError: the page has a place of an unknown name.
    """
    parts: dict[str, Callable[[Figures], str]] = {
        "minutes": lambda all_of_them: minutes.section(all_of_them["minutes"]),
        "main_job": main_job,
        "parts": parts_of_the_work,
        "peers": lambda all_of_them: two_columns(all_of_them["peers"]),
        "strategies": strategies,
        "gpu": lambda all_of_them: gpu.section(all_of_them["gpu"]),
    }
    return PLACE.sub(
        lambda place: f"<!-- measured: {place['name']} -->\n\n{parts[place['name']](figures)}\n\n<!-- end -->", page
    )


def main_job(figures: Figures) -> str:
    """Return the table of the first command."""
    job = figures["main_job"]
    headings = ["strategy", *METRICS, "training seconds", "peak MiB", "trainable parameters"]
    rows = [
        [
            f"{_mark(found, job['champion'])}{code(found['name'])}",
            *(_interval(found[metric]) for metric in METRICS),
            f"{found['training seconds']:.1f}",
            f"{found['peak MiB']:.0f}",
            f"{found['trainable parameters']:,}",
        ]
        for found in job["strategies"]
    ]
    stopped = [code(found["name"]) for found in job["strategies"] if found.get("stopped")]
    said = f" Stopped by the race, and therefore without a test: {', '.join(stopped)}." if stopped else ""
    return f"{table(headings, rows)}\n\n★ is the champion, = ties with the best.{said} Measured on {job['machine']}."


def parts_of_the_work(figures: Figures) -> str:
    """Return the table of parts, each with the command that measures it."""
    rows = [[part["what"], part["measured"], part["command"]] for part in figures["parts"]]
    return table(["what", "measured", "command"], rows)


def two_columns(rows: list[dict[str, str]]) -> str:
    """Return a table of what was measured, and what came out."""
    return table(["what", "measured"], [[row["what"], row["measured"]] for row in rows])


def strategies(figures: Figures) -> str:
    """Return the table of every way of fine-tuning."""
    rows = figures["strategies"]
    metrics = ("validation AUROC", "test AUROC", "test accuracy")
    lines = [
        [
            code(row["name"]),
            *(f"{row[metric][0]:.3f} ± {row[metric][1]:.3f}" for metric in metrics),
            f"{row['trainable parameters']:,}",
            row["against scratch"],
        ]
        for row in rows
    ]
    return table(
        ["strategy", *metrics, "trainable parameters", f"against {code('scratch')} on validation"],
        lines,
    )


def _mark(found: Figures, champion: str | None) -> str:
    if found["name"] == champion:
        return "★ "
    return "= " if found["tied"] else ""


def _interval(value: list[float] | None) -> str:
    """Return a value with its interval; a dash where there is none."""
    if not value:
        return "–"
    return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]" if len(value) > 1 else f"{value[0]:.3f}"
