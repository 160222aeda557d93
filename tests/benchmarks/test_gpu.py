"""The benchmark of a GPU keeps its time, and keeps what it found; tried on the processor."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.measured import gpu as shown
from tests.benchmarks.gpu.__main__ import BUDGETS, LEAST, SECONDS, one_after_the_other, within
from tests.benchmarks.gpu.sections import SECTIONS, loop, pair
from tests.benchmarks.gpu.steps import Figures, Setting, stores, ways

TINY = Setting.tiny("cpu")


def test_budgets_fit_into_the_time() -> None:
    """Every section has one, and all of them together can be spent."""
    assert BUDGETS.keys() == SECTIONS.keys()
    assert sum(BUDGETS.values()) <= SECONDS


@given(st.dictionaries(st.text(min_size=1), st.floats(1, 200), max_size=8), st.floats(0, 500))
def test_the_deadline_holds(budgets: dict[str, float], seconds: float) -> None:
    """However long sections take, none is allowed more than its budget or than what is left; none is lost."""
    now = 0.0

    def run(_: str, allowed: float) -> tuple[str, Figures]:
        nonlocal now
        now += allowed  # each takes all that it may
        return "complete", {}

    found = list(one_after_the_other(budgets, seconds, run, lambda: now))
    assert [name for name, _, _ in found] == list(budgets)
    assert now <= seconds + 1e-6
    begun = [state == "complete" for _, state, _ in found]
    assert begun == [True] * sum(begun) + [False] * (len(begun) - sum(begun)) or min(budgets.values()) < LEAST


def test_what_was_found_in_time_is_kept(tmp_path: Path) -> None:
    """A section that hangs is ended with what it started; its figures until then count."""
    child = f"import subprocess, sys; subprocess.run([{sys.executable!r}, '-c', 'import time; time.sleep(100)'])"
    program = f"print('{{\"a\": 1}}', flush=True); {child}"
    state, figures = within(3.0, [sys.executable, "-c", program], tmp_path / "log")
    assert state == "its 3 seconds ran out"
    assert figures == {"a": 1}


def test_a_section_that_fails_says_so(tmp_path: Path) -> None:
    """And the ones behind it go on."""
    state, figures = within(20.0, [sys.executable, "-c", "print('{\"a\": 1}'); raise SystemExit(3)"], tmp_path / "log")
    assert (state, figures) == ("failed with status 3, see log", {"a": 1})


def test_ways_of_a_step_are_tried_on_the_processor() -> None:
    """Each has images a second, or says why not: a graph needs CUDA."""
    found = {name: value for figures in ways(TINY) for name, value in figures.items()}
    assert found.pop("cuda_graph_failed") == "RuntimeError: graphs need CUDA"
    assert found.keys() == {
        f"{name}_images_a_second"
        for name in ("float32", "bfloat16", "bfloat16_channels_last", "copied_each_step", "copied_pinned")
    }
    assert all(value > 0 for value in found.values())


@pytest.mark.parametrize("setting", [TINY, Setting("cpu", "mobilenet_v2", 32, 4, 2)], ids=["tiny", "mobilenet_v2"])
def test_frozen_layers_are_kept_in_three_places(setting: Setting) -> None:
    """Anew, on the host and on the device."""
    found = {name: value for figures in stores(setting) for name, value in figures.items()}
    assert found.keys() == {f"frozen_{place}_images_a_second" for place in ("anew", "host", "device")}


def test_the_loop_is_held_against_the_bare_step() -> None:
    """The project's own training, and a step on tensors in memory."""
    found = {name: value for figures in loop(TINY) for name, value in figures.items()}
    assert found.keys() == {"thawline_images_a_second", "thawline_peak_mib", "bare_images_a_second"}
    assert all(value > 0 for value in found.values())


@pytest.mark.slow
def test_the_loop_is_measured_alone_and_beside_another() -> None:
    """In processes of their own, as two strategies on one device are."""
    found = {name: value for figures in pair(TINY) for name, value in figures.items()}
    assert found.keys() == {"alone_images_a_second", "two_images_a_second"}
    assert all(value > 0 for value in found.values())


def test_the_page_shows_it() -> None:
    """How each section ended, and its figures."""
    found = {"device": "H", "torch": "2", "sections": {"steps": {"state": "complete", "figures": {"float32": 1234.5}}}}
    assert "| steps | state | complete |\n|  | float32 | 1,234 |" in shown.section(json.loads(json.dumps(found)))
    assert "never run on one" in shown.section(None)
