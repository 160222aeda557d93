"""What ``python -m flows.compare`` leaves, run as a user runs it."""

import re

from tests.support.golden import golden
from tests.support.left import REPEATS, check_comparison, check_everything_is_up_to_date, check_tracked_runs

DOOR = "flow"


def test_everything_is_up_to_date() -> None:
    """DVC calls nothing stale."""
    check_everything_is_up_to_date(DOOR)


def test_comparison_names_every_strategy_and_its_costs() -> None:
    """Both splits' metrics of all strategies, best validation score first; the winner was printed."""
    check_comparison(DOOR)


def test_one_parent_and_a_child_a_strategy_are_finished() -> None:
    """MLflow shows one comparison with its strategies below it, and below each its repeats."""
    check_tracked_runs(DOOR)


def test_the_flow_ran_every_link() -> None:
    """Each strategy was adapted, fine-tuned and evaluated as often as the params ask, in their order."""
    project, printed = golden(DOOR)
    ran = re.findall(r"Task run '(.+?)' - Finished in state Completed\('ran'\)", printed)
    ran = [re.sub(r"-[0-9a-f]{3}$", "", name) for name in ran]
    titles = [
        f"{name}{repeat}" for name in project.params()["strategies"] for repeat in ("", *(f" {r}" for r in REPEATS))
    ]
    before = ["version data", "retrieve backbone", "probe data", "race"]
    assert ran == [*before, *(f"evaluate {title}" for title in titles), "compare"]
