"""The Pareto front holds exactly what nothing dominates; and when a strategy is where another one ends."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.comparison.costs import epochs_to_reach, pareto_front

POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)
CURVES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def beats(point: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Return whether a point scores as high as another at no higher costs, and is better in something."""
    no_worse = point[0] >= other[0] and all(a <= b for a, b in zip(point[1:], other[1:], strict=True))
    return no_worse and point != other


@given(POINTS)
def test_a_point_is_on_the_front_unless_one_beats_it(points: list[tuple[int, int, int]]) -> None:
    """Ties stay in together; the best score and the lowest cost are always represented."""
    efficient = pareto_front(*zip(*points, strict=True))
    assert efficient == [not any(beats(other, point) for other in points) for point in points]
    assert max(points)[0] in {point[0] for point, kept in zip(points, efficient, strict=True) if kept}


def history(accuracies: list[float]) -> list[dict[str, float]]:
    """Return a history with these validation accuracies."""
    return [{"val_accuracy": accuracy} for accuracy in accuracies]


@given(CURVES, CURVES)
def test_the_first_epoch_that_is_as_good(accuracies: list[float], other: list[float]) -> None:
    """Before it every epoch is worse than the other's best; there is none only if all are."""
    epochs = epochs_to_reach(history(accuracies), history(other))
    before = accuracies if epochs is None else accuracies[: epochs - 1]
    assert all(accuracy < max(other) for accuracy in before)
    assert epochs is None or accuracies[epochs - 1] >= max(other)


@given(CURVES)
def test_every_history_reaches_itself(accuracies: list[float]) -> None:
    """And does so where it is best first."""
    reached = epochs_to_reach(history(accuracies), history(accuracies))
    assert reached == accuracies.index(max(accuracies)) + 1
