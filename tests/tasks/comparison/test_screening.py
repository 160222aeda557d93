"""Which networks are kept, and what is said of the others."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.comparison.screening import Screened, choose
from tasks.params import ScreenParams

FIGURES = st.floats(0, 1)
NETWORKS = st.lists(
    st.builds(
        Screened,
        network=st.text("abcdefgh", min_size=1, max_size=3),
        name=st.just("net"),
        weights=st.just("w"),
        licence=st.just("l"),
        parameters=st.integers(1, 100),
        milliseconds=st.floats(0.1, 100),
        accuracy=st.none() | FIGURES,
        last_stage=FIGURES,
        all_stages=FIGURES,
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda screened: screened.network,
)
PARAMS = st.builds(
    ScreenParams,
    keep=st.integers(1, 4),
    max_milliseconds=st.none() | st.floats(0.1, 100),
    max_parameters=st.none() | st.integers(1, 100),
)


def screened(network: str, probe: float | None, past: float | None = None, **figures: float) -> Screened:
    """Return a network whose probes reached a figure."""
    return Screened(
        network=network, name="net", weights="w", licence="l", accuracy=past, last_stage=probe, all_stages=probe,
        milliseconds=10.0, parameters=10, **figures,
    )  # fmt: skip


def kept(*networks: Screened, **params: float) -> list[str]:
    """Return the names of those that are kept."""
    return [one.network for one in choose(networks, ScreenParams.model_validate(params)) if one.kept]


@given(NETWORKS, PARAMS)
def test_as_many_as_wanted_are_kept_within_the_limits(networks: list[Screened], params: ScreenParams) -> None:
    """Never more, fewer only if there aren't more; every network says why."""
    chosen = choose(networks, params)
    assert [one.network for one in chosen] == [one.network for one in networks]
    within = [
        one
        for one in networks
        if (params.max_parameters is None or one.parameters <= params.max_parameters)
        and (params.max_milliseconds is None or (one.milliseconds or 0) <= params.max_milliseconds)
    ]
    are_kept = [one for one in chosen if one.kept]
    assert len(are_kept) == min(params.keep, len(within))
    assert {one.network for one in are_kept} <= {one.network for one in within}
    assert all(one.why for one in chosen)


@given(NETWORKS, st.integers(1, 4))
def test_the_best_by_either_is_kept(networks: list[Screened], keep: int) -> None:
    """The probe's best always, the past's best if two are kept."""
    are_kept = [one for one in choose(networks, ScreenParams(keep=keep)) if one.kept]
    assert max(one.probed for one in are_kept) == max(one.probed for one in networks)
    known = [one.accuracy for one in networks if one.accuracy is not None]
    if keep > 1 and known:
        assert max(one.accuracy or 0 for one in are_kept if one.accuracy is not None) == max(known)


def test_the_probe_and_the_past_name_networks_in_turns() -> None:
    """One that leads in both takes one place."""
    networks = screened("a", 0.9, 0.7), screened("b", 0.8, 0.8), screened("c", 0.7, 0.9), screened("d", 0.85, 0.6)
    assert kept(*networks, keep=1) == ["a"]
    assert kept(*networks, keep=2) == ["a", "c"]
    assert kept(*networks, keep=3) == ["a", "c", "d"]
    both = screened("a", 0.9, 0.9), screened("b", 0.8, 0.7), screened("c", 0.7, 0.8)
    assert kept(*both, keep=2) == ["a", "c"]


def test_without_a_past_the_probe_decides() -> None:
    """Networks of one's own have none."""
    assert kept(screened("a", 0.5), screened("b", 0.8), screened("c", 0.7), keep=2) == ["b", "c"]


def test_who_is_left_out_says_why() -> None:
    """By the limit, or behind whom."""
    slow = screened("slow", 0.99).model_copy(update={"milliseconds": 99.0})
    gone = Screened(network="gone", name="net", weights="w", licence="", why="left out: no source has it")
    chosen = choose([screened("a", 0.9), screened("b", 0.8), slow, gone], ScreenParams(keep=1, max_milliseconds=50))
    said = {one.network: one.why for one in chosen}
    assert said["a"] == "kept: number 1 by the linear probe"
    assert "behind a (screen.keep)" in said["b"]
    assert "99.0 ms an image, over screen.max_milliseconds 50" in said["slow"]
    assert said["gone"] == "left out: no source has it"
