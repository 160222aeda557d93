"""What ``python -m tests.benchmarks.minutes`` measured, as tables."""

from collections.abc import Sequence
from typing import Any

from docs.reference.markdown import code, table
from tests.benchmarks.minutes.turns import Figures, Measurement, figure

COMMAND = "python -m tests.benchmarks.minutes --before CHECKOUT --after CHECKOUT --out minutes.json"
SIDES = ("before", "after")
# The figures of each row that the page shows: name, words, how many decimals. Others may have one by a second name.
SHOWN: dict[str, list[tuple[str, str, int]]] = {
    "first": [
        ("seconds", "seconds", 0),
        ("training", "seconds of training", 0),
        ("outside_training", "race and fine-tunings outside training, seconds a strategy", 1),
        ("silence", "most seconds between two lines", 0),
        ("peak_mib", "memory of the largest process, MiB", 0),
        ("test.accuracy", "the champion's test accuracy", 3),
    ],
    "photos": [
        ("seconds", "seconds", 0),
        ("peak_mib", "memory of the largest process, MiB", 0),
        ("test.accuracy accuracy", "test accuracy", 3),
    ],
    "eight": [
        ("seconds", "seconds", 0),
        ("peak_mib", "memory of the largest process, MiB", 0),
        ("test.balanced_accuracy balanced_accuracy", "balanced accuracy on the test images", 3),
    ],
    "compare": [("seconds", "seconds", 1), ("silence", "most seconds between two lines", 1)],
    "nothing": [("seconds", "seconds", 1)],
    "stage": [("seconds", "seconds", 1), ("peak_mib", "memory, MiB", 0)],
    "doors": [
        ("repro", "dvc repro, seconds", 1),
        ("flow", "python -m flows.compare, seconds", 1),
        ("help", "python -m tasks --help, seconds", 1),
    ],
    "forward": [
        ("chosen", "as chosen, batches of 16", 0),
        ("eager_bfloat16", "PyTorch in bfloat16", 0),
        ("eager_float32", "PyTorch in float32", 0),
        ("one_chosen", "as chosen, one image at a time", 0),
    ],
    "training": [
        ("epoch_images_a_second images_a_second", "images a second", 1),
        ("bare_images_a_second", "the bare step", 1),
    ],
    "store": [("ours_images_a_second", "images a second", 0), ("bare_images_a_second", "the forward pass", 0)],
    "frozen": [("kept_seconds", "kept, seconds", 1), ("anew_seconds", "anew, seconds", 1)],
    "head": [("seconds", "seconds", 1), ("balanced_accuracy", "balanced accuracy", 3)],
    "tenfold": [("seconds_ratio", "times the seconds", 1), ("peak_mib_ratio", "times the memory", 2)],
}


def section(measurements: Sequence[Measurement]) -> str:
    """Return the tables of all machines, in each what was measured last of a row."""
    if not measurements:
        return f"Not measured yet: {code(COMMAND)}."
    last: dict[str, dict[str, Measurement]] = {}
    for one in measurements:
        last.setdefault(_words(one["machine"]), {})[one["row"]] = one
    return "\n\n".join(_of_machine(machine, rows) for machine, rows in last.items())


def _of_machine(machine: str, rows: dict[str, Measurement]) -> str:
    """Return what was measured on one machine."""
    others = list(dict.fromkeys(name for row in rows.values() for name in row["ways"] if name not in SIDES))
    lines = [line for name, row in rows.items() for line in _lines(row, SHOWN.get(name, []), others)]
    found = [f"On {machine}; medians of runs that took turns ({_versions(rows)}):"]
    found.append(table(["what", "", *SIDES, "after over before", *others], lines))
    if "first" in rows:
        found += [_verdicts(rows["first"]), _stages(rows["first"])]
    if "racing" in rows:
        found.append(_racing(rows["racing"]))
    return "\n\n".join(found)


def _lines(row: Measurement, shown: Sequence[tuple[str, str, int]], others: Sequence[str]) -> list[list[str]]:
    """Return a line a figure; what is measured stands in the first."""
    lines: list[list[str]] = []
    for names, words, decimals in shown:
        values = {way: _value(found["medians"], names) for way, found in row["ways"].items()}
        if all(value is None for value in values.values()):
            continue
        before, after = (values.get(side) for side in SIDES)
        ratio = f"{after / before:.2f}" if before and after is not None and "accuracy" not in names else "–"
        lines.append(
            [
                "" if lines else f"{row['what']} ({code(row['row'])})",
                words,
                _number(before, decimals),
                _number(after, decimals),
                ratio,
                *(_number(values.get(other), decimals) for other in others),
            ]
        )
    return lines


def _verdicts(row: Measurement) -> str:
    """Return who won, before and after."""
    sentences = []
    for side, found in row["ways"].items():
        medians = found["medians"]
        champion, tied, stopped = (_names(medians.get(key)) for key in ("champion", "tied", "stopped"))
        sentences.append(f"{side.capitalize()}: {champion} wins, the best is tied with by {tied}, stopped: {stopped}.")
    return "The verdict. " + " ".join(sentences)


def _names(found: Any) -> str:
    """Return a name or several, or that the runs disagree."""
    if isinstance(found, dict):
        return f"({' or '.join(_names(one) for one in found['differs'])})"
    return ", ".join(code(name) for name in ([found] if isinstance(found, str) else found or ())) or "nobody"


def _stages(row: Measurement) -> str:
    """Return the seconds of each stage, and of training in it."""
    medians = {side: row["ways"][side]["medians"] for side in SIDES if side in row["ways"]}
    names = dict.fromkeys(name for found in medians.values() for name in found["stages"])
    lines = []
    for name in names:
        cells = []
        for side in SIDES:
            found = medians.get(side, {})
            cells += [
                _number(figure(found, f"stages.{name}.seconds"), 0),
                _number(figure(found, f"train_seconds.{name}"), 1),
            ]
        lines.append([code(name), *cells])
    headings = [f"{side}, {what}" for side in SIDES for what in ("seconds", "training")]
    return table(["stage of the first command", *headings], lines)


def _racing(row: Measurement) -> str:
    """Return what racing cost on average over the recorded sets, a figure a line."""
    (found,) = row["ways"].values()
    figures = found["medians"].get("mean", found["medians"])
    lines = [[name.replace("_", " "), _number(value, 3)] for name, value in figures.items() if _plain(value)]
    return table([row["what"], "measured"], lines)


def _value(medians: Figures, names: str) -> float | None:
    """Return the first figure that is there, of some names with spaces between them."""
    found = (figure(medians, name) for name in names.split())
    return next((float(value) for value in found if _plain(value)), None)


def _plain(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:,.{decimals}f}"


def _words(machine: Figures) -> str:
    """Return a machine in a few words."""
    features = f" ({', '.join(machine['features'])})" if machine["features"] else ""
    return (
        f"{machine['cores']} cores of {machine['processor']}{features}, {machine['memory_gib']} GiB, "
        f"PyTorch {machine['packages'].get('torch', 'unknown')}"
    )


def _versions(rows: dict[str, Measurement]) -> str:
    """Return which revisions were measured, and how often."""
    ways = [(name, found) for row in rows.values() for name, found in row["ways"].items()]
    revisions: dict[str, dict[str, None]] = {}
    for name, found in ways:
        if found["revision"] and name in SIDES:
            revisions.setdefault(name, {})[found["revision"]] = None
    counts = sorted({len(found["runs"]) for _, found in ways})
    runs = (
        f"{counts[0]} to {counts[-1]} runs" if len(counts) > 1 else f"{counts[0]} {'run' if counts == [1] else 'runs'}"
    )
    named = [f"{side} is {', '.join(code(revision) for revision in found)}" for side, found in revisions.items()]
    return "; ".join([*named, runs])
