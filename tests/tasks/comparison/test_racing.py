"""Who is stopped in a race, and what a race of full runs would have cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.comparison.racing import ACCURACY, Runner, dominated, replay, rungs

curves = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def runner(accuracies: list[float], epochs: int | None = None, earliest: int = 1) -> Runner:
    """Return a strategy with these accuracies behind it."""
    return Runner(epochs or len(accuracies), earliest, [{ACCURACY: accuracy} for accuracy in accuracies])


@given(st.integers(1, 200), st.integers(1, 200))
def test_rungs_lead_to_the_end(epochs: int, earliest: int) -> None:
    """They rise to the last epoch, and none lies before the first at which a strategy may be stopped."""
    looked_at = rungs(epochs, min(earliest, epochs))
    assert looked_at == sorted(set(looked_at))
    assert looked_at[-1] == epochs
    assert looked_at[0] >= min(earliest, epochs)


def test_a_flat_curve_far_behind_is_hopeless() -> None:
    """It has stopped rising. One that rises steeply, one in its first epoch, and one that is done are not hopeless."""
    field = {
        "leader": runner([0.9]),
        "flat": runner([0.5, 0.5, 0.51, 0.51], 8),
        "steep": runner([0.3, 0.4, 0.5, 0.6], 16),
        "first": runner([0.1], 8),
        "done": runner([0.2, 0.2]),
    }
    assert dominated(field, 500) == ["flat"]


def test_few_images_keep_everyone_in_the_race() -> None:
    """With ten validation images the same difference may be chance."""
    field = {"leader": runner([0.8]), "behind": runner([0.6, 0.6, 0.6, 0.6], 8)}
    assert dominated(field, 1000) == ["behind"]
    assert dominated(field, 10) == []


def test_the_last_phase_has_to_begin() -> None:
    """A strategy whose second phase trains the network isn't judged by its first."""
    field = {"leader": runner([0.9]), "phased": runner([0.5, 0.5], 8, earliest=3)}
    assert dominated(field, 1000) == []


def test_a_replay_says_what_racing_saves() -> None:
    """The flat strategy would have been stopped after two of its eight epochs; the best one is never stopped."""
    full = {"best": runner([0.9, 0.95]), "flat": runner([0.5] * 8)}
    replayed = replay(full, {"best": 10.0, "flat": 80.0}, 1000)
    assert replayed.stopped == {"flat": 2}
    assert replayed.saved == pytest.approx(80 * 6 / 8 / 90)


@given(st.dictionaries(st.text("abcdef", min_size=1), curves, min_size=1, max_size=6), st.integers(10, 5000))
def test_someone_always_finishes(of: dict[str, list[float]], images: int) -> None:
    """Whatever the curves, a race has a survivor, and saves no more than all of the time."""
    full = {name: runner(accuracies) for name, accuracies in of.items()}
    replayed = replay(full, dict.fromkeys(full, 1.0), images)
    assert set(replayed.stopped) < set(full)
    assert all(1 < epochs < len(of[name]) for name, epochs in replayed.stopped.items())
    assert 0 <= replayed.saved < 1
