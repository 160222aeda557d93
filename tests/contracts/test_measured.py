"""What docs/about/benchmarks.md shows is what docs/about/measured.json holds."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from docs.measured.figures import read, renewed
from docs.measured.page import COMMAND, PAGE, rendered
from tests.support.paths import ROOT

MACHINE = {
    "processor": "Fast", "cores": 2, "features": ["avx2"], "memory_gib": 24, "system": "Linux", "python": "3.11",
    "packages": {"torch": "2.0"},
}  # fmt: skip


def test_the_page_is_made_from_the_figures() -> None:
    """After a figure was measured anew, the page is renewed with it."""
    page = PAGE.read_text(encoding="utf-8")
    assert rendered(page, read()) == page, f"the page isn't what docs/about/measured.json says: run '{COMMAND}'"


def test_commands_beside_figures_are_there() -> None:
    """A figure's command is a module of the project, and its rows are those of the benchmark."""
    from tests.benchmarks.minutes.rows import rows

    page = PAGE.read_text(encoding="utf-8")
    modules = re.findall(r"python -m ([\w.]+)", page)
    assert modules
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), module
    for names in re.findall(r"--rows ([\w,]+)", page):
        assert set(names.split(",")) <= set(rows()), names


def measurement(row: str, ways: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a measurement of one run of each way."""
    return {
        "row": row, "what": f"what {row} is", "machine": MACHINE, "ratios": {}, "compared": [],
        "ways": {way: {"revision": f"{way}-1", "runs": [found], "medians": found} for way, found in ways.items()},
    }  # fmt: skip


def shown(*measurements: dict[str, Any]) -> list[list[str]]:
    """Return the cells of all lines of the tables that are made from measurements."""
    page = rendered("<!-- measured: minutes -->\n<!-- end -->", {"minutes": list(measurements)})
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in page.splitlines() if line.startswith("|")]


def test_a_row_stands_beside_what_it_is_held_against() -> None:
    """Seconds with their ratio; accuracies without; a peer's by its own name; nothing where nothing was measured."""
    lines = shown(
        measurement(
            "photos",
            {
                "before": {"seconds": 800.0, "test": {"accuracy": 0.9}},
                "after": {"seconds": 200.0, "test": {"accuracy": 0.91}},
                "fastai": {"seconds": 190.0, "accuracy": 0.88},
            },
        ),
        measurement("nothing", {"after": {"seconds": 0.8}}),
    )
    assert ["what photos is (`photos`)", "seconds", "800", "200", "0.25", "190"] in lines
    assert ["", "test accuracy", "0.900", "0.910", "–", "0.880"] in lines
    assert ["what nothing is (`nothing`)", "seconds", "–", "0.8", "–", "–"] in lines


def test_the_last_measurement_of_a_row_is_shown() -> None:
    """An earlier one of another revision stays among the figures, and off the page."""
    lines = shown(*(measurement("nothing", {"after": {"seconds": seconds}}) for seconds in (3.0, 2.0)))
    assert [line[3] for line in lines if line[1] == "seconds"] == ["2.0"]


def test_the_first_command_shows_verdict_and_stages() -> None:
    """Who won, who tied, who was stopped; and each stage's seconds with those of training."""
    found = {
        "seconds": 100.0, "champion": "full", "tied": ["full", "last_stage"], "stopped": ["scratch"],
        "stages": {"probe": {"seconds": 30.0}, "full": {"seconds": 60.0}}, "train_seconds": {"full": 50.5},
    }  # fmt: skip
    page = rendered("<!-- measured: minutes -->\n<!-- end -->", {"minutes": [measurement("first", {"after": found})]})
    assert "After: `full` wins, the best is tied with by `full`, `last_stage`, stopped: `scratch`." in page
    assert "| `full` | – | – | 60 | 50.5 |" in page
    found["champion"] = {"differs": ["full", "last_stage"]}
    page = rendered("<!-- measured: minutes -->\n<!-- end -->", {"minutes": [measurement("first", {"after": found})]})
    assert "After: (`full` or `last_stage`) wins" in page, "runs that disagree are said to"
    assert "after is `after-1`" in page


def test_what_racing_cost_is_shown_on_average() -> None:
    """As the replay says it, over all sets that were recorded."""
    found = {"rows": [{"set": "cells", "saved": 0.7}], "mean": {"regret_val": 0.002, "saved": 0.6}}
    lines = shown(measurement("racing", {"after": found}))
    assert ["regret val", "0.002"] in lines
    assert ["saved", "0.600"] in lines


def test_the_main_job_is_taken_from_a_project(tmp_path: Path) -> None:
    """A stopped strategy has no test, which the page shows by a dash and says."""
    scores = {"auroc": 0.9, "accuracy": 0.8, "intervals": {"auroc": [0.85, 0.95], "accuracy": None}}
    common = {"val": scores, "tied": True, "train_seconds": 1.0, "peak_memory_mib": 900.4, "trainable_parameters": 2562}
    strategies = {
        "full": {**common, "test": scores},
        "scratch": {**common, "tied": False, "test": None, "stopped": {"reason": "behind"}},
    }
    (tmp_path / "data/reports").mkdir(parents=True)
    content = json.dumps({"champion": "full", "strategies": strategies})
    (tmp_path / "data/reports/comparison.json").write_text(content, encoding="utf-8")
    job = renewed(tmp_path, "a machine")
    page = rendered("<!-- measured: main_job -->\n<!-- end -->", {"main_job": job})
    assert "| ★ `full` | 0.900 [0.850, 0.950] | 0.900 [0.850, 0.950] | 0.800 | 1.0 | 900 | 2,562 |" in page
    assert "| `scratch` | 0.900 [0.850, 0.950] | – | – | 1.0 | 900 | 2,562 |" in page
    assert "without a test: `scratch`" in page


def test_a_place_without_figures_is_an_error() -> None:
    """A misspelt name doesn't leave an old table on the page."""
    with pytest.raises(KeyError):
        rendered("<!-- measured: minute -->\n<!-- end -->", {"minutes": []})
