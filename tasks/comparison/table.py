"""The comparison as a table in the terminal."""

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from tasks.comparison.schema import Comparison
from tasks.comparison.statistics import METRIC_NAMES
from tasks.comparison.summary import cell

PLAIN_WIDTH = 132
WIDEST = 1000


def show(comparison: Comparison, console: Console | None = None) -> None:
    """Print the strategies, best first, and the verdict."""
    console = console or Console(highlight=False)
    name = METRIC_NAMES[comparison.metric]
    title = "★ champion, = tied with the best on validation"
    if any(result.lost_race for result in comparison.strategies.values()):
        title += ", × stopped by the race and not tested"
    table = Table(title=title, title_justify="left", title_style="dim")
    table.add_column("strategy", no_wrap=True)
    headings = (f"val {name}", f"test {name}", "test accuracy", "seconds", "peak MiB", "trainable parameters")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for result in comparison.strategies.values():
        mark = "★" if result.name == comparison.champion else "=" if result.tied else "×" if result.lost_race else " "
        table.add_row(
            f"{mark} {result.name}",
            cell(*result.figure("val", comparison.metric)),
            cell(*result.figure("test", comparison.metric)),
            cell(*result.figure("test", "accuracy")),
            f"{result.train_seconds:.1f}",
            f"{result.peak_memory_mib:.0f}",
            f"{result.trainable_parameters:,}",
            style="bold" if result.name == comparison.champion else None,
        )
    if not console.is_terminal:
        needed = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
        console.width = max(console.width, PLAIN_WIDTH, needed)
    console.print(table)
    if comparison.leader.over_seeds:
        console.print(
            f"Means over {len(comparison.leader.over_seeds.seeds)} seeds; the intervals are over images and seeds."
        )
    for result in comparison.strategies.values():
        if result.stopped and not result.lost_race:
            console.print(f"The race stopped {result.name} {result.stopped.words}.")
    console.print(comparison.verdict)
