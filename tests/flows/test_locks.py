"""Locks that a killed process leaves, or that somebody else holds."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.results import is_up_to_date, must
from tests.support.servers import shared_prefect
from tests.support.waiting import wait_for

pytestmark = pytest.mark.system

COMPARE = (sys.executable, "-m", "flows.compare")


def test_a_lock_file_that_was_cut_short_is_mended(small: Project) -> None:
    """DVC, killed while it wrote dvc.lock, leaves it empty: the one before it is put back, by a flow, too."""
    must(small.run("dvc", "repro", "-f", "-s", "fetch"))  # whose step keeps a copy
    lock = small.root / "dvc.lock"
    lock.write_text("")
    mended = small.run(sys.executable, "-m", "tasks", "mend")
    assert "put back" in mended.stdout, mended.stdout + mended.stderr
    assert "finetune@scratch" in lock.read_text()
    lock.write_text("")
    printed = must(small.run(*COMPARE, PREFECT_API_URL=shared_prefect()))
    assert "put back" in printed
    assert "running prepare" not in printed
    assert is_up_to_date(small)


def test_a_second_run_that_may_not_wait_says_who_is_at_work(small: Project, tmp_path: Path) -> None:
    """THAWLINE_WAIT=0: one sentence, and exit status 2."""
    held = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path / "held")], cwd=small.root, env=small.environment()
    )
    try:
        wait_for((tmp_path / "held").exists, 60)
        refused = small.run(sys.executable, "-m", "tasks", "compare", THAWLINE_WAIT="0")
    finally:
        held.kill()
        held.wait()
    assert refused.returncode == 2
    assert f"'somebody else' (process {held.pid}" in refused.stderr


HOLDS = """
import sys, time
from pathlib import Path
from tasks import exclusive

with exclusive.working_copy("somebody else", print):
    Path(sys.argv[1]).touch()
    time.sleep(600)
"""
