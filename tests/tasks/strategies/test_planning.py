"""Selectors and rates mean what they say."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import UserError
from tasks.params import StrategyParams
from tasks.strategies import freezing, planning
from tasks.strategies.freezing import REST, Group
from tasks.strategies.planning import Measured
from tasks.strategies.selectors import select
from tests.tasks.networks import network, strategy


def names_of(stages: int) -> list[str]:
    """Return the groups of a network with that many stages."""
    return ["stem", *(f"stage{i}" for i in range(1, stages + 1)), "head"]


@pytest.mark.parametrize(
    ("selectors", "chosen"),
    [
        (["all"], ["stem", "stage1", "stage2", "stage3", "stage4", "head"]),
        (["stem"], ["stem"]),
        (["head"], ["head"]),
        (["stages"], ["stage1", "stage2", "stage3", "stage4"]),
        (["stage3"], ["stage3"]),
        (["stages[-1]"], ["stage4"]),
        (["stages[0]"], ["stage1"]),
        (["stages[2:]", "head"], ["stage3", "stage4", "head"]),
        (["stages[:]"], ["stage1", "stage2", "stage3", "stage4"]),
        (["stages[ 1 : -1 ]"], ["stage2", "stage3"]),
    ],
)
def test_selectors(selectors: list[str], chosen: list[str]) -> None:
    """Every kind of selector stands for the groups that the documentation says."""
    assert list(select(selectors, names_of(4))) == chosen


def test_the_order_is_the_networks() -> None:
    """Neither the order of selectors nor naming a group twice matters."""
    assert select(["head", "stage2", "stem", "stages[1]"], names_of(3)) == ("stem", "stage2", "head")


BOUND = st.none() | st.integers(-12, 12)


@given(stages=st.integers(1, 9), start=BOUND, stop=BOUND)
def test_slices_are_pythons(stages: int, start: int | None, stop: int | None) -> None:
    """``stages[a:b]`` is Python's slice; one that selects nothing is refused."""
    names = names_of(stages)
    expected = names[1:-1][start:stop]
    selector = f"stages[{'' if start is None else start}:{'' if stop is None else stop}]"
    if expected:
        assert list(select([selector], names)) == expected
    else:
        with pytest.raises(UserError):
            select([selector], names)


@given(stages=st.integers(1, 9), index=st.integers(-12, 12))
def test_indices_are_pythons(stages: int, index: int) -> None:
    """``stages[i]`` is Python's index; one out of range is refused."""
    names = names_of(stages)
    if -stages <= index < stages:
        assert list(select([f"stages[{index}]"], names)) == [names[1:-1][index]]
    else:
        with pytest.raises(UserError):
            select([f"stages[{index}]"], names)


@pytest.mark.parametrize(
    "selector", ["tail", "stage9", "stages[]", "stages[1-2]", "stages[1:2:3]", "stages[a:]", "stages[5:]", "Head", ""]
)
def test_an_unknown_selector_lists_the_choices(selector: str) -> None:
    """A selector that means nothing names itself and what may be written instead."""
    with pytest.raises(UserError) as error:
        select(["head", selector], names_of(3))
    message = str(error.value)
    assert f"train: {selector}'" in message
    for choice in ("all", *names_of(3), "stages[2:]"):
        assert choice in message


def test_rates_relative_to_the_pretraining() -> None:
    """``pretraining/10`` is a tenth of the rate in the weights' record, whatever the spaces."""
    assert planning.learning_rate("pretraining/10", 0.4) == pytest.approx(0.04)
    assert planning.learning_rate("pretraining / 2.5", 0.4) == pytest.approx(0.16)
    assert planning.learning_rate("pretraining", 0.4) == 0.4
    assert planning.learning_rate(0.003, 0.4) == 0.003
    with pytest.raises(UserError, match="fast"):
        planning.learning_rate("fast", 0.4)
    with pytest.raises(UserError, match=r"backbone\.lr"):
        planning.learning_rate("pretraining/10", None)


@pytest.mark.parametrize(
    ("settings", "trained_with", "other"),
    [
        ({"train": "all", "lr": "pretraining/10"}, "sgd", "optimizer: sgd"),
        ({"train": "all", "lr": {"all": 1e-4, "head": "pretraining"}}, "rmsprop", "optimizer: sgd"),
        ({"phases": [{"train": "head", "lr": 1e-3}, {"train": "all", "lr": "pretraining/2"}]}, "sgd", "optimizer: sgd"),
        ({"train": "all", "lr": "pretraining/10", "optimizer": "sgd"}, "adamw", "optimizer: adamw"),
    ],
)
def test_a_rate_of_another_kind_of_optimizer_is_refused(
    settings: dict[str, Any], trained_with: str, other: str
) -> None:
    """A tenth of SGD's rate breaks a network under AdamW: the sentence names both ways out."""
    with pytest.raises(UserError, match=f"{trained_with} .*write a number such as 0.* or '{other}'"):
        planning.check_relative_rates(StrategyParams.model_validate(settings), trained_with, 0.045)


@pytest.mark.parametrize(
    ("settings", "trained_with"),
    [
        ({"train": "all", "lr": "pretraining/10", "optimizer": "sgd"}, "sgd"),
        ({"train": "all", "lr": "pretraining/10"}, "adamw"),
        ({"train": "all", "lr": "pretraining/10"}, None),
        ({"train": "all", "lr": 0.001}, "sgd"),
        ({"train": "all", "lr": "find"}, "sgd"),
        ({"train": "head", "solver": "lbfgs", "lr": "pretraining/10"}, "sgd"),
    ],
)
def test_a_rate_of_the_same_kind_is_taken(settings: dict[str, Any], trained_with: str | None) -> None:
    """Or of weights of which nobody knows, or a rate that is relative to nothing, or one that isn't used."""
    planning.check_relative_rates(StrategyParams.model_validate(settings), trained_with, 0.045)


def test_a_strategy_becomes_a_plan() -> None:
    """Phases keep their order, epochs and rates; what a phase leaves out is the strategy's."""
    settings = strategy(
        epochs=7,
        lr="pretraining/10",
        phases=[{"train": "head", "epochs": 2, "lr": 0.01}, {"train": ["stages[-1]", "head"]}],
    )
    plan = planning.plan(settings, GROUPS, pretraining_lr=0.4)
    assert [phase.epochs for phase in plan.phases] == [2, 7]
    assert plan.rates(0) == {"head": 0.01}
    assert dict(plan.rates(2)) == pytest.approx({"stage4": 0.04, "head": 0.04})
    assert plan.epochs == 9


def group(name: str, kind: str = "", part: str = "") -> Group:
    """Return a group of one parameter."""
    return Group(name, (f"{name}.weight",), (), (name,), 10, part or name, kind)


GROUPS = tuple(group(name) for name in names_of(4))


def test_rates_by_part() -> None:
    """A mapping gives each part the rate of the last selector that names it; one that is forgotten is named."""
    rates = {"all": 1e-5, "stages[2:]": 1e-4, "head": "pretraining/10"}
    plan = planning.plan(strategy(train="all", lr=rates), GROUPS, pretraining_lr=0.4)
    assert dict(plan.rates(0)) == pytest.approx(
        {"stem": 1e-5, "stage1": 1e-5, "stage2": 1e-5, "stage3": 1e-4, "stage4": 1e-4, "head": 0.04}
    )
    with pytest.raises(UserError, match="'stem' trains, but 'lr' gives no rate"):
        planning.plan(strategy(train="all", lr={"stages": 1e-4, "head": 1e-3}), GROUPS)
    with pytest.raises(UserError, match="'lr: tail' selects nothing"):
        planning.plan(strategy(train="all", lr={"all": 1e-4, "tail": 1e-3}), GROUPS)


@given(decay=st.floats(0.1, 1), stages=st.integers(1, 9))
def test_layer_wise_decay(decay: float, stages: int) -> None:
    """Every part trains at the same share of the rate of the part above it; the head at the full rate."""
    groups = tuple(group(name) for name in names_of(stages))
    plan = planning.plan(strategy(train="all", lr=0.01, layer_decay=decay), groups)
    upwards = [plan.rates(0)[name] for name in names_of(stages)]
    assert upwards[-1] == 0.01
    assert [low / high for low, high in pairwise(upwards)] == pytest.approx([decay] * (stages + 1))


def test_measured_shares_scale_rates() -> None:
    """Auto-RGN trains a part at its share of the rate; what was not measured has the whole rate."""
    measured = Measured(shares={"stem": 0.25, "stage2": 0.5})
    plan = planning.plan(strategy(train="all", lr=0.01, auto_rgn=True), GROUPS, measured=measured)
    assert plan.rates(0)["stem"] == pytest.approx(0.0025)
    assert plan.rates(0)["stage2"] == pytest.approx(0.005)
    assert plan.rates(0)["head"] == 0.01


@given(stages=st.integers(1, 9), every=st.integers(1, 4), more=st.integers(1, 5))
def test_gradual_unfreezing(stages: int, every: int, more: int) -> None:
    """From the top, one part after so many epochs each; once thawed a part stays so, on one schedule."""
    names = names_of(stages)
    groups = tuple(group(name) for name in names)
    epochs = every * (stages + 1) + more
    plan = planning.plan(strategy(train="all", gradual=every, epochs=epochs), groups)
    assert plan.epochs == epochs
    assert [plan.thaws_at(name) for name in reversed(names)] == [every * place for place in range(len(names))]
    for earlier, later in pairwise(range(epochs)):
        assert set(plan.rates(earlier)) <= set(plan.rates(later))
    assert {plan.cycle(epoch) for epoch in range(epochs)} == {(0, epochs)}
    needed = every * (stages + 1) + 1
    with pytest.raises(UserError, match=f"set 'epochs' to {needed} or more"):
        planning.plan(strategy(train="all", gradual=every, epochs=needed - 1), groups)


def test_milestones() -> None:
    """Each milestone adds to what trains already, after so many epochs, on one schedule."""
    settings = strategy(epochs=7, lr=0.01, milestones={0: "head", 2: "stages[2:]", 5: "all"})
    plan = planning.plan(settings, GROUPS)
    assert plan.epochs == 7
    thaws = {"stem": 5, "stage1": 5, "stage2": 5, "stage3": 2, "stage4": 2, "head": 0}
    assert {name: plan.thaws_at(name) for name in names_of(4)} == thaws
    assert plan.cycle(3) == (0, 7)


@pytest.mark.parametrize(
    ("milestones", "problem"),
    [({1: "head"}, "entry for 0"), ({0: "head", 9: "all"}, "never reached"), ({"soon": "head"}, "numbers of epochs")],
)
def test_milestones_that_make_no_sense(milestones: dict[Any, str], problem: str) -> None:
    """Each is refused with what is wrong with it."""
    with pytest.raises(ValueError, match=problem):
        strategy(epochs=7, milestones=milestones)


def test_new_parts_train_in_every_phase() -> None:
    """A replaced stem and inserted stages train whatever a phase selects; with ``gradual`` from the start."""
    phases = [{"train": "head", "epochs": 2}, {"train": ["stage4", "head"], "epochs": 2}]
    plan = planning.plan(strategy(phases=phases, lr=0.01), GROUPS, new=("stem",))
    assert [set(phase.rates) for phase in plan.phases] == [{"stem", "head"}, {"stem", "stage4", "head"}]
    slow = planning.plan(strategy(train="all", gradual=1, epochs=9), GROUPS, new=("stem",))
    assert set(slow.rates(0)) == {"stem", "head"}


def test_inserted_stages_learn_their_statistics() -> None:
    """With ``batchnorm: frozen`` pretrained statistics stay; those of new blocks, which have none, are updated."""
    adapted, plan = network("resnet18", strategy(train="all", insert=1, cut=1))
    fixed = set(plan.never_moved(update_statistics=False))
    statistics = {name for name in adapted.model.state_dict() if name.endswith("running_mean")}
    of_new_stage = {name for part in adapted.parts if part.name == "new1" for name in statistics if part.owns(name)}
    assert of_new_stage
    assert fixed & statistics == statistics - of_new_stage
    freezing.apply(plan, adapted.model, 0, update_statistics=False)
    assert {
        name for name in statistics if adapted.model.get_submodule(name.rpartition(".")[0]).training
    } == of_new_stage


def test_a_phase_in_which_nothing_can_train_is_refused() -> None:
    """Parts without anything of the kind that trains are named, and those that have some."""
    groups = (group("stem", REST), group("stage1", REST), group("stage1.norms", "norms", "stage1"), group("head"))
    plan = planning.plan(strategy(train="all", only="norms"), groups)
    assert set(plan.rates(0)) == {"stage1.norms", "head"}
    with pytest.raises(UserError, match="stem, which have no norms; parts that have are stage1, head"):
        planning.plan(strategy(train="stem", only="norms"), groups)
