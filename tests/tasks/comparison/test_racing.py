"""Who is stopped in a race, and why."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.arrays import Floats, Integers
from tasks.comparison.racing import FEWEST_STEPS, SHARES, Contestant, Evidence, Look, Standings, rungs
from tasks.params import Start

METRICS = st.sampled_from(["accuracy", "balanced_accuracy", "macro_f1", "auroc", "average_precision"])
DONE = st.sampled_from([*SHARES, 1.0])


def contestants(costs: dict[str, tuple[float]], start: Start = "pretrained") -> dict[str, Contestant]:
    """Return strategies by what they cost."""
    return {name: Contestant(of, start) for name, of in costs.items()}


NO_COSTS: dict[str, tuple[float]] = {}


def answers(targets: Integers, skill: float, seed: int) -> Floats:
    """Return probabilities of two classes; the more skill, the more of them are right."""
    right = np.where(targets == 1, skill, -skill) + np.random.default_rng(seed).normal(size=len(targets))
    return np.column_stack([1 / (1 + np.exp(right)), 1 / (1 + np.exp(-right))])


def field(
    images: int, metric: str = "auroc", costs: dict[str, tuple[float]] = NO_COSTS, **skills: tuple[float, float]
) -> Standings:
    """Return strategies by their skill, and the share of their plan that is done; all cost the same, but for some."""
    targets = np.arange(images) % 2
    standings = Standings(targets, metric, contestants(dict.fromkeys(skills, (1.0,)) | costs))
    for seed, (name, (skill, share)) in enumerate(skills.items()):
        standings.add(name, Look(answers(targets, skill, seed), share, round(1000 * share), 1000))
    return standings


def lost_in(standings: Standings) -> dict[str, Evidence]:
    """Return who can't win any more, one after the other; they are dropped."""
    lost: dict[str, Evidence] = {}
    while one := standings.loser():
        name, lost[name] = one
        standings.drop(name)
    return lost


@given(st.integers(0, 5000), st.integers(1, 5000))
def test_rungs_lead_to_the_end(first: int, length: int) -> None:
    """They rise to the last step, none lies before the last phase has begun or before there is anything to see."""
    looked_at = rungs(first, first + length)
    assert looked_at == sorted(set(looked_at))
    assert looked_at[-1] == first + length
    assert all(step >= first + FEWEST_STEPS for step in looked_at[:-1])
    assert len(looked_at) <= len(SHARES) + 1


def test_who_is_far_behind_is_stopped_with_the_evidence() -> None:
    """It had half of its plan, and is hardly better than chance; the sentence has what it is judged by."""
    standings = field(400, costs={"close": (0.5,), "flat": (2.0,)}, head=(1.5, 1.0), flat=(0.1, 0.5), close=(1.6, 0.5))
    lost = lost_in(standings)
    assert standings.leader == "head"
    assert set(lost) == {"flat"}
    evidence = lost["flat"]
    assert evidence.difference == pytest.approx(evidence.leader - evidence.score)
    assert evidence.score < evidence.reach < evidence.leader
    assert 0 < evidence.at_least < evidence.difference
    assert evidence.at_least == pytest.approx(evidence.leader - evidence.reach)
    assert (evidence.images, evidence.of_images) == (500, 1000)
    assert evidence.sentence() == (
        f"AUROC {evidence.score:.3f} against {evidence.leader:.3f} of head, at least {evidence.at_least:.3f} behind"
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(-1, 3), DONE), min_size=1, max_size=5), st.sampled_from([10, 60, 300]), METRICS)
def test_only_those_whose_reach_is_below_what_it_takes_to_win_are_stopped(
    skills: list[tuple[float, float]], images: int, metric: str
) -> None:
    """Nobody who has come to its end is stopped, and of all somebody is left."""
    costs = {f"s{place}": (float(place // 2),) for place in range(len(skills))}  # two each cost the same
    standings = field(images, metric, costs, **{f"s{place}": skill for place, skill in enumerate(skills)})
    lost = lost_in(standings)
    assert standings.names, "somebody is left"
    for name, evidence in lost.items():
        assert skills[int(name[1:])][1] < 1
        assert evidence.score <= evidence.reach < evidence.to_win
        step = np.sign(costs[name][0] - costs[evidence.against][0]) * evidence.standard_error
        assert evidence.to_win == pytest.approx(evidence.leader + step)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.2, 2), st.floats(0, 2), st.sampled_from(SHARES[:4]))
def test_earlier_looks_stop_fewer(leader: float, other: float, share: float) -> None:
    """With the same score, who is stopped early is also stopped later."""
    early, late = (field(40, leader=(leader, 1), other=(other, at)).against("other", "leader") for at in (share, 0.5))
    assert early.at_least <= late.at_least + 1e-9
    assert math.isfinite(early.at_least)


def test_the_cheaper_of_two_that_tie_goes_on_and_the_dearer_does_not() -> None:
    """A score that costs more must be better beyond noise; one that costs less may be as much lower.

    One that costs the same, to a tenth, has to be higher.
    """
    skills = {"leader": (1.2, 1.0), "other": (1.15, 0.5)}
    dear, cheap, same = (field(100, "auroc", {"other": (cost,)}, **skills) for cost in (9.0, 0.1, 1.05))
    alike = same.against("other", "leader")
    assert alike.to_win == alike.leader
    assert lost_in(cheap) == {}
    evidence = lost_in(dear)["other"]
    assert evidence.at_least < 0
    assert evidence.sentence().endswith(f"at best {-evidence.at_least:.3f} ahead, no more than noise")


def test_a_dear_one_that_may_win_clearly_goes_on() -> None:
    """What it may reach is beyond the leader's score by more than noise."""
    assert lost_in(field(1000, "auroc", {"other": (9.0,)}, leader=(1.0, 1.0), other=(1.1, 0.25))) == {}


def test_who_rose_is_given_more_than_who_did_not() -> None:
    """At the same score, half of the plan done, the one that just came up from below may reach more."""
    targets = np.arange(200) % 2
    standings = Standings(targets, "auroc", contestants({"rising": (1.0,), "flat": (1.0,)}))
    for name, before in {"rising": 0.0, "flat": 0.8}.items():
        for skill, share in ((before, 0.25), (0.8, 0.5)):
            standings.add(name, Look(answers(targets, skill, 1), share, 1, 2))
    rising, flat = (standings.against(*names) for names in (("rising", "flat"), ("flat", "rising")))
    assert rising.score == flat.score
    assert rising.reach > flat.reach


def test_a_metric_that_is_undefined_stops_nobody() -> None:
    """Validation images of a single class have no AUROC."""
    standings = Standings(np.zeros(20, dtype=np.int64), "auroc", contestants({"one": (1.0,), "other": (1.0,)}))
    for name in ("one", "other"):
        standings.add(name, Look(np.full((20, 2), 0.5), 0.5, 1, 2))
    assert standings.leader is None
    assert lost_in(standings) == {}


def test_what_a_look_shows_is_held_against_the_best() -> None:
    """The leader is told that it is; others, by whom they are led."""
    standings = field(400, head=(1.5, 1.0), flat=(0.1, 0.5))
    assert standings.sentence("head").endswith("the best so far")
    evidence = standings.against("flat", "head")
    assert standings.sentence("flat") == f"AUROC {evidence.score:.3f}, head {evidence.leader:.3f}"


def test_random_weights_are_given_longer_than_pretrained_ones() -> None:
    """At the same score, half of the plan done, what begins with nothing may rise farther."""
    targets = np.arange(200) % 2
    reach = {}
    for start in ("pretrained", "random"):
        standings = Standings(targets, "auroc", contestants({"leader": (1.0,), "other": (2.0,)}, start))
        for name, skill, share in (("leader", 1.2, 1.0), ("other", 0.8, 0.5)):
            standings.add(name, Look(answers(targets, skill, 1), share, 1, 2))
        reach[start] = standings.against("other", "leader").reach
    assert reach["random"] > reach["pretrained"]
