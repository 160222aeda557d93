"""When a strategy is where another one ends."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.comparison.worth import epochs_to_reach

CURVES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def history(accuracies: list[float]) -> list[dict[str, float]]:
    """Return a history with these validation accuracies."""
    return [{"val_accuracy": accuracy} for accuracy in accuracies]


@given(CURVES, CURVES)
def test_the_first_epoch_that_is_as_good(own: list[float], other: list[float]) -> None:
    """Before it every epoch is worse than the other's best; there is none only if all are."""
    found = epochs_to_reach(history(own), history(other))
    before = own if found is None else own[: found - 1]
    assert all(accuracy < max(other) for accuracy in before)
    assert found is None or own[found - 1] >= max(other)


@given(CURVES)
def test_every_history_reaches_itself(own: list[float]) -> None:
    """And does so where it is best first."""
    assert epochs_to_reach(history(own), history(own)) == own.index(max(own)) + 1
