"""Small real data for every test, the tiers that tests are in, and what is said at the end."""

import os
import signal
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

pytest.register_assert_rewrite("tests.support")

import flows  # noqa: E402, F401 - it tells Prefect what it reads once, when it is imported
from tests.support import once  # noqa: E402 - whose assertions are then explained
from tests.support.cells import write_cells  # noqa: E402

TIERS = {"system": "servers, clusters, kills and outages", "slow": "several processes that train, and exports"}
# Tests run side by side: one thread each, here and in the processes they start.
os.environ["OMP_NUM_THREADS"] = "1"
# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")
# A shell's background job ignores Ctrl-C, and so would the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Make what this run's processes share, before the first of them starts."""
    once.folder()


class FilesTogether(LoadFileScheduling):
    """Hands out files of tests, and at once those whose deployments have the same names on the one Prefect server."""

    DEPLOYED = ("test_automations.py", "test_cancelled.py", "test_served.py", "test_workers.py")

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "deployed" if file.endswith(self.DEPLOYED) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesTogether:
    """Keep the tests of a file in one process, in the order of the files."""
    return FilesTogether(config, log)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the matrix of families and strategies, and what was not run."""
    _print_matrix(terminalreporter)
    _print_tiers(terminalreporter, config)


def _print_tiers(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which tiers were run, and by which command those that were not can be."""
    asked = config.getoption("markexpr")
    left = [tier for tier in TIERS if f"not {tier}" in asked]
    if left:
        terminalreporter.section("not run")
    for tier in left:
        terminalreporter.write_line(f"{TIERS[tier]}: pytest -m {tier}")


def _print_matrix(terminalreporter: Any) -> None:
    """Print the matrix of families and strategies as a table: a dot passed, a dash was skipped, a cross failed."""
    marks = {"passed": "·", "skipped": "-", "failed": "X", "error": "X"}
    cells: dict[tuple[str, str], str] = {}
    reasons: dict[str, None] = {}
    for outcome, mark in marks.items():
        for report in terminalreporter.stats.get(outcome, []):
            for key, (family, strategy) in (p for p in getattr(report, "user_properties", []) if p[0] == "matrix"):
                cells[strategy, family] = mark
                if outcome == "skipped":
                    reasons[f"{key}: {strategy} of {family}: {report.longrepr[2].removeprefix('Skipped: ')}"] = None
    if not cells:
        return
    strategies, families = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
    width = max(map(len, strategies))
    terminalreporter.section("every family by every strategy (· passed, - skipped, X failed)")
    for place, family in enumerate(families):
        terminalreporter.write_line(" " * width + "  " + "│ " * place + "┌ " + family)
    for strategy in strategies:
        row = " ".join(cells.get((strategy, family), " ") for family in families)
        terminalreporter.write_line(f"{strategy:<{width}}  {row}")
    for reason in reasons:
        terminalreporter.write_line(reason)


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 2 x 40 real images; tests must not change it."""
    return write_cells(tmp_path_factory.mktemp("cells") / "photos", 40)
