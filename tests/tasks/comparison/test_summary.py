"""What other tools' pages say of a comparison."""

import pytest

from tasks.comparison import summary
from tasks.comparison.schema import Comparison, Finding
from tests.tasks.comparison.conftest import MakeEntrant, comparison_of, ranked_of, stopped, with_undefined_auroc


@pytest.fixture
def comparison(entrant: MakeEntrant) -> Comparison:
    """A comparison with a champion, and one strategy whose score is undefined on the test split."""
    ranked = ranked_of([entrant("full", 3.0, 900), entrant("head_only", 2.9, 90), entrant("poor", 0.1, 80)])
    ranked[-1] = with_undefined_auroc(ranked[-1])
    return comparison_of(ranked)


def test_markdown_has_the_links_before_the_verdict_and_a_line_a_strategy(comparison: Comparison) -> None:
    """A reader of the first line knows the winner and gets on from there; the table is one, whatever is undefined."""
    first, verdict, table, *_ = summary.markdown(comparison, {"charts": "#/charts", "report": "#/report"}).split("\n\n")
    assert first == f"**★ {comparison.champion}** · [charts](#/charts) · [report](#/report)"
    assert verdict == comparison.verdict
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
    assert {len(cells) for cells in lines} == {len(lines[0])}
    assert [cells[0].removeprefix("★ ") for cells in lines[2:]] == list(comparison.strategies)
    assert [cells[0] for cells in lines[2:] if cells[0].startswith("★ ")] == [f"★ {comparison.champion}"]


def test_a_long_table_is_cut(entrant: MakeEntrant) -> None:
    """MLflow takes descriptions of 8,000 characters."""
    many = [entrant(f"strategy_with_a_long_name_{i}", 1.0, 100 + i) for i in range(4)]
    comparison = comparison_of(ranked_of(many))
    results = list(comparison.strategies.values())
    comparison = comparison.model_copy(update={"strategies": {f"{r.name}_{i}": r for i in range(20) for r in results}})
    text = summary.markdown(comparison, {})
    assert len(text) < 8000
    assert f"and {80 - summary.SHOWN} more" in text


def test_a_strategy_is_described_with_what_went_wrong(comparison: Comparison) -> None:
    """Its place, its cost and every finding with its evidence."""
    poor = comparison.strategies["poor"].model_copy(
        update={
            "findings": [Finding(tag="rate_too_low", evidence="The loss still falls.", epoch=None, configuration=None)]
        }
    )
    text = summary.of_strategy(poor, comparison)
    assert text.startswith("**3 of 3 by validation AUROC**: ")
    assert "trains 8.0% of 1,000 parameters in 3 epochs, 10.0 s" in text
    assert text.endswith("**rate too low**: The loss still falls.")
    assert comparison.champion is not None
    assert summary.of_strategy(comparison.strategies[comparison.champion], comparison).startswith("**★ Champion, ")


def test_a_strategy_that_lost_the_race_is_described_by_where_it_stopped(entrant: MakeEntrant) -> None:
    """Its row has no test figure, and its note neither a place nor a diagnosis."""
    comparison = comparison_of(ranked_of([entrant("full", 4.0), stopped(entrant("lost", 0.1, 10, 2.0))]))
    row = summary.rows(comparison)[1]
    assert row["strategy"] == "× lost"
    assert (row["to the best"], row["test AUROC"], row["test accuracy"]) == ("at least 0.170 behind", "–", "–")
    assert "× stopped by the race, and not tested" in summary.markdown(comparison, {})
    score = comparison.strategies["lost"].val.auroc
    assert summary.of_strategy(comparison.strategies["lost"], comparison) == (
        "**Stopped by the race** after 30 of 120 images, at least 0.170 behind head_only: "
        f"validation AUROC {score:.3f} there, 2.0 s; not tested."
    )
