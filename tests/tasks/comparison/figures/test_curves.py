"""Learning curves show what was kept, and what training on to the end would have left."""

from tasks.comparison.figures.curves import draw_curves
from tests.tasks.comparison.conftest import MakeEntrant, comparison_of, ranked_of


def test_the_kept_epoch_is_beside_the_last_one(entrant: MakeEntrant) -> None:
    """Every run has its panel with both losses, and its values at the kept and the last epoch lie on one line."""
    overfitted = entrant("full", 2.0)
    overfitted.run["best_epoch"] = 1  # type: ignore[index]
    overfitted.history[1] |= {"val_loss": 0.2, "val_accuracy": 0.9}
    panels = draw_curves(comparison_of(ranked_of([overfitted, entrant("head_only", 0.5)])))
    *runs, losses, accuracies = [axes for figure in panels.figures for axes in figure.axes]
    assert {axes.get_title(loc="left").removeprefix("★ ") for axes in runs} == {"full", "head_only"}
    assert {len(axes.lines[0].get_xdata()) for axes in runs} == {3}  # type: ignore[arg-type]
    row = [label.get_text().removeprefix("★ ") for label in losses.get_yticklabels()].index("full")
    for axes, name in ((losses, "val_loss"), (accuracies, "val_accuracy")):
        line, last, kept = axes.lines[3 * row : 3 * row + 3]
        values = [overfitted.history[epoch][name] for epoch in (1, 2)]
        assert list(line.get_xdata()) == values  # type: ignore[arg-type]
        assert [*kept.get_xdata(), *last.get_xdata()] == values  # type: ignore[misc]


def test_runs_are_on_one_scale_and_have_one_legend(entrant: MakeEntrant) -> None:
    """Losses can be compared from panel to panel; what the lines are is said once."""
    panels = draw_curves(comparison_of(ranked_of([entrant("full", 2.0), entrant("head_only", 0.5)])))
    assert len({figure.axes[0].get_ylim() for figure in panels.figures[:2]}) == 1
    assert panels.legend is not None
    words = [text.get_text() for text in panels.legend.legends[0].get_texts()]
    assert words == ["training loss", "validation loss", "last epoch", "epoch that was kept"]
