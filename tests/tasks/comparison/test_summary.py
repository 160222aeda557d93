"""What other tools' pages say of a comparison."""

import pytest

from tasks.comparison import summary
from tasks.comparison.schema import Comparison
from tasks.evaluation.diagnosis import Finding
from tests.tasks.comparison.conftest import MakeEntrant, comparison_of, ranked_of


@pytest.fixture
def found(entrant: MakeEntrant) -> Comparison:
    """A comparison with a champion, and one strategy whose score is undefined on the test split."""
    ranked = ranked_of([entrant("full", 3.0, 900), entrant("head_only", 2.9, 90), entrant("poor", 0.1, 80)])
    ranked[-1].test.auroc, ranked[-1].test.intervals["auroc"] = None, None
    return comparison_of(ranked)


def test_markdown_has_the_links_before_the_verdict_and_a_line_a_strategy(found: Comparison) -> None:
    """A reader of the first line knows the winner and gets on from there; the table is one, whatever is undefined."""
    first, verdict, table, *_ = summary.markdown(found, {"charts": "#/charts", "report": "#/report"}).split("\n\n")
    assert first == f"**★ {found.champion}** · [charts](#/charts) · [report](#/report)"
    assert verdict == found.verdict
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
    assert {len(cells) for cells in lines} == {len(lines[0])}
    assert [cells[0].removeprefix("★ ") for cells in lines[2:]] == list(found.strategies)
    assert [cells[0] for cells in lines[2:] if cells[0].startswith("★ ")] == [f"★ {found.champion}"]


def test_a_long_table_is_cut(entrant: MakeEntrant) -> None:
    """MLflow takes descriptions of 8,000 characters."""
    many = [entrant(f"strategy_with_a_long_name_{i}", 1.0, 100 + i) for i in range(4)]
    found = comparison_of(ranked_of(many))
    results = list(found.strategies.values())
    found = found.model_copy(update={"strategies": {f"{r.name}_{i}": r for i in range(20) for r in results}})
    text = summary.markdown(found, {})
    assert len(text) < 8000
    assert f"and {80 - summary.SHOWN} more" in text


def test_a_strategy_is_described_with_what_went_wrong(found: Comparison) -> None:
    """Its place, its cost and every finding with its evidence."""
    poor = found.strategies["poor"].model_copy(
        update={"findings": [Finding("rate_too_low", "The loss still falls.", None, None)]}
    )
    text = summary.of_strategy(poor, found)
    assert text.startswith("**3 of 3 by validation AUROC**: ")
    assert "trains 8.0% of 1,000 parameters in 3 epochs, 10.0 s" in text
    assert text.endswith("**rate too low**: The loss still falls.")
    assert found.champion is not None
    assert summary.of_strategy(found.strategies[found.champion], found).startswith("**★ Champion, ")
