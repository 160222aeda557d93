"""Selectors and rates mean what they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import UserError
from tasks.strategies import freezing, library, surgery
from tests.tasks.networks import record_of, strategy


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
    assert list(library.select(selectors, names_of(4))) == chosen


def test_the_order_is_the_networks() -> None:
    """Neither the order of selectors nor naming a group twice matters."""
    assert library.select(["head", "stage2", "stem", "stages[1]"], names_of(3)) == ("stem", "stage2", "head")


BOUND = st.none() | st.integers(-12, 12)


@given(stages=st.integers(1, 9), start=BOUND, stop=BOUND)
def test_slices_are_pythons(stages: int, start: int | None, stop: int | None) -> None:
    """``stages[a:b]`` is Python's slice; one that selects nothing is refused."""
    names = names_of(stages)
    expected = names[1:-1][start:stop]
    selector = f"stages[{'' if start is None else start}:{'' if stop is None else stop}]"
    if expected:
        assert list(library.select([selector], names)) == expected
    else:
        with pytest.raises(UserError):
            library.select([selector], names)


@given(stages=st.integers(1, 9), index=st.integers(-12, 12))
def test_indices_are_pythons(stages: int, index: int) -> None:
    """``stages[i]`` is Python's index; one out of range is refused."""
    names = names_of(stages)
    if -stages <= index < stages:
        assert list(library.select([f"stages[{index}]"], names)) == [names[1:-1][index]]
    else:
        with pytest.raises(UserError):
            library.select([f"stages[{index}]"], names)


@pytest.mark.parametrize(
    "selector", ["tail", "stage9", "stages[]", "stages[1-2]", "stages[1:2:3]", "stages[a:]", "stages[5:]", "Head", ""]
)
def test_an_unknown_selector_lists_the_choices(selector: str) -> None:
    """A selector that means nothing names itself and what may be written instead."""
    with pytest.raises(UserError) as error:
        library.select(["head", selector], names_of(3))
    message = str(error.value)
    assert f"train: {selector}'" in message
    for choice in ("all", *names_of(3), "stages[2:]"):
        assert choice in message


def test_rates_relative_to_the_pretraining() -> None:
    """``pretraining/10`` is a tenth of the rate in the weights' record, whatever the spaces."""
    record = record_of("mobilenet_v2")
    assert library.learning_rate("pretraining/10", record) == pytest.approx(record.lr / 10)
    assert library.learning_rate("pretraining / 2.5", record) == pytest.approx(record.lr / 2.5)
    assert library.learning_rate("pretraining", record) == record.lr
    assert library.learning_rate(0.003, record) == 0.003
    with pytest.raises(UserError, match="fast"):
        library.learning_rate("fast", record)


def test_a_strategy_becomes_a_plan() -> None:
    """Phases keep their order, epochs and rates; what a phase leaves out is the strategy's."""
    settings = strategy(
        epochs=7,
        lr="pretraining/10",
        phases=[{"train": "head", "epochs": 2, "lr": 0.01}, {"train": ["stages[-1]", "head"]}],
    )
    record = record_of("resnet18")
    adapted = surgery.adapt(None, record, 2, 3, settings.head, 0)
    plan = library.plan(settings, freezing.group_by_part(adapted.model, adapted.parts), record)
    assert [phase.epochs for phase in plan.phases] == [2, 7]
    assert plan.rates(0) == {"head": 0.01}
    assert dict(plan.rates(2)) == pytest.approx({"stage4": record.lr / 10, "head": record.lr / 10})
    assert plan.epochs == 9
