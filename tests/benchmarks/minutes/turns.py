"""Ways of doing the same, measured in turns: medians of their runs, ratios between them, and files of them that merge.

A *measurement* is what a row of the benchmark found on one machine, of named revisions. As JSON::

    {"row": "first", "what": "…", "machine": {…},
     "ways": {"before": {"revision": "…", "runs": [{"at": "…", "seconds": 2400.0, …}], "medians": {"seconds": …}}, …},
     "ratios": {"seconds: after over before": 0.33}, "compared": […]}
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

Figures = dict[str, Any]
Measurement = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """One way of doing what a row measures.

    Attributes:
        run: does it once, and returns its figures: numbers, texts, or figures by name.
        revision: what is measured, such as a commit or a version; may be empty.
    """

    run: Callable[[], Figures]
    revision: str = ""


@dataclass(frozen=True)
class Ratio:
    """A figure of one way over the same of another; names of figures within figures are joined by a dot."""

    figure: str
    of: str
    over: str

    @property
    def name(self) -> str:
        """What it is called in the results."""
        return f"{self.figure}: {self.of} over {self.over}"


@dataclass(frozen=True)
class Row:
    """Something that is measured, and the ways of doing it, which take turns."""

    name: str
    what: str
    ways: Mapping[str, Way]
    ratios: Sequence[Ratio] = field(default=())


def measured(
    row: Row, rounds: int, machine: Figures, say: Callable[[str], None], now: Callable[[], str] | None = None
) -> Iterator[Measurement]:
    """Run every way of a row in turns; yield the measurement after each run, so that a long one can be kept at once."""
    now = now or (lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    runs: dict[str, list[Figures]] = {}
    for turn in range(rounds):
        for name, way in row.ways.items():
            say(f"{row.name}: round {turn + 1} of {rounds}, {name}")
            runs.setdefault(name, []).append({"at": now(), **way.run()})
            ways = {name: {"revision": row.ways[name].revision, "runs": found} for name, found in runs.items()}
            compared = [asdict(ratio) for ratio in row.ratios]
            yield summed_up({"row": row.name, "what": row.what, "machine": machine, "ways": ways, "compared": compared})


def summed_up(measurement: Measurement) -> Measurement:
    """Return a measurement with the medians and the ratios of its runs."""
    ways = {name: {**way, "medians": medians(way["runs"])} for name, way in measurement["ways"].items()}
    ratios = {}
    for ratio in (Ratio(**one) for one in measurement["compared"]):
        values = [figure(ways.get(name, {}).get("medians", {}), ratio.figure) for name in (ratio.of, ratio.over)]
        if all(isinstance(value, int | float) for value in values) and values[1]:
            ratios[ratio.name] = values[0] / values[1]
    return {**measurement, "ways": ways, "ratios": ratios}


def medians(runs: Sequence[Figures]) -> Figures:
    """Return the medians of figures, of those runs that have them.

    What isn't a number is returned where all runs agree, and otherwise as ``{"differs": [each value]}``.
    """
    names = dict.fromkeys(name for run in runs for name in run if name != "at")
    return {name: _median([run[name] for run in runs if name in run]) for name in names}


def _median(values: list[Any]) -> Any:
    there = [value for value in values if value is not None]
    if there and all(isinstance(value, dict) for value in there):
        return medians(there)
    if there and all(isinstance(value, int | float) and not isinstance(value, bool) for value in there):
        return statistics.median(there)
    different = [value for place, value in enumerate(values) if value not in values[:place]]
    return different[0] if len(different) == 1 else {"differs": different}


def figure(figures: Figures, name: str) -> Any:
    """Return a figure by its name, in which a dot leads into figures by name; None if there is none."""
    found: Any = figures
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def merged(first: Sequence[Measurement], second: Sequence[Measurement]) -> list[Measurement]:
    """Return the measurements of both, the runs of the same row, machine and revisions together, in order of time.

    Runs that both have are kept once; nothing is dropped.
    """
    together: list[Measurement] = list(first)
    for new in second:
        place = next((place for place, old in enumerate(together) if _alike(old, new)), None)
        if place is None:
            together.append(new)
            continue
        old, ways = together[place], {}
        for name in dict.fromkeys([*old["ways"], *new["ways"]]):
            both = [measurement["ways"][name] for measurement in (old, new) if name in measurement["ways"]]
            runs = [run for way in both for run in way["runs"]]
            unique = [run for place, run in enumerate(runs) if run not in runs[:place]]
            ways[name] = {**both[-1], "runs": sorted(unique, key=lambda run: str(run["at"]))}
        together[place] = summed_up({**new, "ways": ways})
    return together


def _alike(one: Measurement, other: Measurement) -> bool:
    shared = one["ways"].keys() & other["ways"].keys()
    return (
        one["row"] == other["row"]
        and one["machine"] == other["machine"]
        and all(one["ways"][name]["revision"] == other["ways"][name]["revision"] for name in shared)
    )
