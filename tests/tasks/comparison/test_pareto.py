"""The Pareto front holds exactly what nothing dominates."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.comparison.pareto import front

POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


def beats(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Return whether one scores as high at no higher costs, and is better in something."""
    no_worse = one[0] >= other[0] and all(a <= b for a, b in zip(one[1:], other[1:], strict=True))
    return no_worse and one != other


@given(POINTS)
def test_a_point_is_on_the_front_unless_one_beats_it(points: list[tuple[int, int, int]]) -> None:
    """Ties stay in together; the best score and the lowest cost are always represented."""
    found = front(*zip(*points, strict=True))
    assert found == [not any(beats(other, point) for other in points) for point in points]
    assert max(points)[0] in {point[0] for point, kept in zip(points, found, strict=True) if kept}
