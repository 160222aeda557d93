"""The comparison for pages of other tools: rows of a table, and Markdown."""

from collections.abc import Mapping, Sequence

from tasks.comparison.schema import Comparison, StrategyResult
from tasks.comparison.statistics import METRIC_NAMES
from tasks.comparison.verdict import starred
from tasks.wording import counted

SHOWN = 30  # strategies in Markdown, whose length tools limit


def rows(comparison: Comparison) -> list[dict[str, str]]:
    """Return a row a strategy, best first, as people read it."""
    name = METRIC_NAMES[comparison.metric]
    return [
        {
            "strategy": starred(result, comparison.champion),
            f"validation {name}": cell(*result.figure("val", comparison.metric)),
            "to the best": _difference(result),
            f"test {name}": cell(*result.figure("test", comparison.metric)),
            "test accuracy": cell(result.figure("test", "accuracy")[0]),
            "training seconds": f"{result.train_seconds:,.1f}",
            "peak MiB": f"{result.peak_memory_mib:,.0f}",
            "trainable parameters": f"{result.trainable_parameters:,} ({_share(result)})",
        }
        for result in comparison.strategies.values()
    ]


def markdown(comparison: Comparison, links: Mapping[str, str]) -> str:
    """Return the winner, links to more, given by what they say, the verdict and the table.

    The links come early: MLflow's UI folds what is behind the first lines.
    """
    table = rows(comparison)
    lines = [_line(list(table[0])), _line([":--", *["--:"] * (len(table[0]) - 1)])]
    lines += [_line(list(row.values())) for row in table[:SHOWN]]
    more = [f"and {len(table) - SHOWN} more"] if len(table) > SHOWN else []
    key = f"★ champion, = tied with the best on validation; intervals at {comparison.confidence:.0%}"
    if any(result.lost_race for result in comparison.strategies.values()):
        key += "; × stopped by the race, and not tested"
    see = " · ".join(f"[{words}]({address})" for words, address in links.items())
    winner = f"★ {comparison.champion}" if comparison.champion else "No champion"
    return "\n\n".join([f"**{winner}** · {see}", comparison.verdict, "\n".join(lines), *more, key])


def of_strategy(result: StrategyResult, comparison: Comparison) -> str:
    """Return what a comparison says of one strategy, as Markdown."""
    name = METRIC_NAMES[comparison.metric]
    place = f"{result.rank} of {len(comparison.strategies)} by validation {name}"
    if result.stopped and result.lost_race:
        return (
            f"**Stopped by the race** {result.stopped.words}: validation {name} "
            f"{cell(result.figure('val', comparison.metric)[0])} there, {result.train_seconds:,.1f} s; not tested."
        )
    tied = ", tied with the best" if result.tied and result.rank > 1 else ""
    first = (
        f"**{'★ Champion, ' if result.name == comparison.champion else ''}{place}**{tied}: "
        f"{cell(*result.figure('val', comparison.metric))}; trains {_share(result)} of {result.parameters:,} "
        f"parameters in {counted(result.epochs, 'epochs')}, {result.train_seconds:,.1f} s."
    )
    found_out = [f"**{finding.tag.replace('_', ' ')}**: {finding.evidence}" for finding in result.findings]
    barred = [f"Can't win: {'; '.join(result.excluded)}."] if result.excluded else []
    return "\n\n".join([first, *barred, *found_out])


def cell(value: float | None, bounds: tuple[float, float] | None = None) -> str:
    """Return a figure with its interval."""
    if value is None:
        return "–"
    return f"{value:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else f"{value:.3f}"


def _difference(result: StrategyResult) -> str:
    if result.stopped and result.lost_race:
        return result.stopped.margin
    if result.rank == 1 or result.versus_best is None:
        return "–"
    return f"{'= ' if result.tied else ''}{result.versus_best.difference:+z.3f}"


def _share(result: StrategyResult) -> str:
    return f"{result.trainable_parameters / result.parameters:.1%}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
