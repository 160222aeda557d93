"""Turns, medians, ratios and files that merge, with ways that take no time."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.minutes.turns import Measurement, Ratio, Row, Way, figure, measured, medians, merged

MACHINE = {"processor": "Fast", "cores": 2}
RATIO = Ratio("seconds", "after", "before")


def ways(called: list[str], **seconds: list[float]) -> dict[str, Way]:
    """Return ways that take what is planted, and note when they are called."""

    def way(name: str, planted: list[float]) -> Way:
        left = iter(planted)

        def run() -> dict[str, Any]:
            called.append(name)
            return {"seconds": next(left)}

        return Way(run, f"{name}-1")

    return {name: way(name, planted) for name, planted in seconds.items()}


def clock() -> Callable[[], str]:
    """Return a clock that ticks with every run."""
    ticks = count()
    return lambda: f"{next(ticks):06}"


def finished(called: list[str] | None = None, machine: Any = None, **seconds: list[float]) -> Measurement:
    """Return the measurement of a row of planted seconds."""
    row = Row("row", "what", ways([] if called is None else called, **seconds), (RATIO,))
    rounds = len(next(iter(seconds.values())))
    return list(measured(row, rounds, machine or MACHINE, lambda _: None, clock()))[-1]


def test_ways_take_turns() -> None:
    """Before and after alternate, so that what slows the machine for a while slows both."""
    called: list[str] = []
    found = finished(called, before=[4.0, 9.0, 5.0], after=[1.0, 3.0, 2.0])
    assert called == ["before", "after"] * 3
    assert found["ways"]["before"]["medians"] == {"seconds": 5.0}
    assert found["ratios"] == {"seconds: after over before": pytest.approx(0.4)}


def test_every_run_is_kept_at_once() -> None:
    """A measurement of an hour that ends early has what was measured until then, without a ratio of what wasn't."""
    row = Row("row", "what", ways([], before=[4.0], after=[2.0]), (RATIO,))
    first = next(measured(row, 1, MACHINE, lambda _: None, clock()))
    assert list(first["ways"]) == ["before"]
    assert first["ratios"] == {}


def test_medians_of_figures_within_figures() -> None:
    """Of runs that have them; what isn't a number is said to differ where runs disagree."""
    runs: list[dict[str, Any]] = [
        {"at": "1", "stages": {"probe": 3.0}, "champion": "full", "tied": ["full"], "test": None},
        {"at": "2", "stages": {"probe": 5.0, "race": 1.0}, "champion": "full", "tied": [], "test": {"auroc": 0.9}},
        {"at": "3", "stages": {"probe": 4.0}, "champion": "full", "tied": ["full"], "test": None},
    ]
    found = medians(runs)
    assert found["stages"] == {"probe": 4.0, "race": 1.0}
    assert found["champion"] == "full"
    assert found["tied"] == {"differs": [["full"], []]}
    assert figure(found, "test.auroc") == 0.9
    assert figure(found, "stages.fetch") is None
    assert "at" not in found


def test_runs_of_the_same_merge() -> None:
    """Same row, machine and revisions: one measurement of all runs, with medians and ratios of them all."""
    first, second = finished(before=[4.0], after=[2.0]), finished(before=[6.0, 8.0], after=[1.0, 1.0])
    second["ways"]["before"]["runs"][0]["at"] = "later"
    (both,) = merged([first], [second])
    assert len(both["ways"]["before"]["runs"]) == 3
    assert both["ways"]["before"]["medians"]["seconds"] == 6.0
    assert both["ratios"]["seconds: after over before"] == pytest.approx(1 / 6)


@pytest.mark.parametrize("other", ["machine", "revision", "row"])
def test_what_is_of_something_else_stays_apart(other: str) -> None:
    """Figures of another machine, another revision or another row are never mixed."""
    first, second = finished(before=[4.0], after=[2.0]), finished(before=[5.0], after=[2.0])
    if other == "revision":
        second["ways"]["after"]["revision"] = "after-2"
    else:
        second[other] = "another"
    assert merged([first], [second]) == [first, second]


seconds = st.lists(st.floats(0.1, 1e4), min_size=1, max_size=6)


@given(seconds, seconds)
def test_merging_drops_nothing_and_counts_nothing_twice(first: list[float], second: list[float]) -> None:
    """Merged with what it has already, a file stays as it is."""
    one, other = finished(after=first), finished(after=second)
    for place, run in enumerate(other["ways"]["after"]["runs"]):
        run["at"] = f"later {place}"
    together = merged([one], [other])
    kept = [run["seconds"] for run in together[0]["ways"]["after"]["runs"]]
    assert sorted(kept) == sorted(first + second)
    assert merged(together, [other]) == together


@given(seconds)
def test_a_median_lies_among_the_runs(planted: list[float]) -> None:
    """Never beyond the fastest and the slowest."""
    median = finished(after=planted)["ways"]["after"]["medians"]["seconds"]
    assert min(planted) <= median <= max(planted)
