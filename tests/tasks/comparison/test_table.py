"""The table in the terminal has every strategy and the verdict."""

import io

from rich.console import Console

from tasks.comparison.table import show
from tests.tasks.comparison.conftest import MakeEntrant, comparison_of, ranked_of, stopped, with_undefined_auroc


def test_the_table(entrant: MakeEntrant) -> None:
    """In a narrow log no figure is cut off: every strategy has a line with its figures, the champion a star."""
    ranked = ranked_of(
        [
            entrant("a_rather_long_name_of_a_strategy", 3.0, 900, 12.5),
            entrant("poor", 0.1, 1, 2.5),
            entrant("b", 2.9, 90),
        ]
    )
    ranked[-1] = with_undefined_auroc(ranked[-1])
    comparison = comparison_of(ranked)
    written = io.StringIO()
    show(comparison, Console(file=written, width=60, highlight=False))
    lines = written.getvalue().splitlines()
    for result in ranked:
        (line,) = [line for line in lines if f" {result.name} " in line and "│" in line]
        assert (f"★ {result.name} " in line) == (result.name == comparison.champion)
        assert (f"= {result.name} " in line) == (result.tied and result.name != comparison.champion)
        assert f"{result.val.auroc:.3f} [" in line
        assert (f"{result.tested.auroc:.3f} [" if result.tested.auroc is not None else "–") in line
        assert f"{result.train_seconds:.1f}" in line
        assert f" {result.trainable_parameters:,} " in line
    assert comparison.verdict in " ".join(written.getvalue().split())


def test_what_lost_the_race_has_no_test_figures(entrant: MakeEntrant) -> None:
    """Its line has a cross and its score when it was stopped; what was out of time is said below."""
    short = entrant("short", 1.0)
    short.run["stopped"] = {"reason": "the budget is spent", "images": 40, "of_images": 120}
    comparison = comparison_of(ranked_of([entrant("full", 4.0), short, stopped(entrant("lost", 0.1))]))
    written = io.StringIO()
    show(comparison, Console(file=written, width=60, highlight=False))
    (line,) = [line for line in written.getvalue().splitlines() if " lost " in line and "│" in line]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells[:4] == ["× lost", f"{comparison.strategies['lost'].val.auroc:.3f}", "–", "–"]
    words = " ".join(written.getvalue().split())
    assert "× stopped by the race and not tested" in words
    assert "The race stopped short after 40 of 120 images: the budget is spent." in words
    assert "On validation the race stopped lost (at least 0.170 behind)." in words
