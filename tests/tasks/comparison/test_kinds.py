"""A strategy is of the kind that its settings make it."""

from typing import Any

import pytest

from tasks.comparison.kinds import Kind, kind_of
from tasks.params import StrategyParams

PARTS = ("stem", "stage1", "stage2", "stage3", "stage4", "head")
LP_FT = {"phases": [{"train": "head"}, {"train": "all"}]}
ONE_OF_EACH: dict[str, dict[str, Any]] = {
    "a": {"train": "all", "start": "random"},
    "b": {"train": "head"},
    "c": {"train": ["stages[3:]", "head"]},
    "d": {"train": ["stem", "head"]},
    "e": {"train": "all"},
    "f": LP_FT,
    "g": {"train": "all", "adapters": {"kind": "lora"}},
}
KINDS = dict(
    zip(
        ONE_OF_EACH,
        (Kind.SCRATCH, Kind.HEAD, Kind.LATE, Kind.EARLY, Kind.FULL, Kind.GENTLE, Kind.ADAPTERS),
        strict=True,
    )
)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        *((settings, KINDS[name]) for name, settings in ONE_OF_EACH.items()),
        ({"train": "head", "start": "random"}, Kind.SCRATCH),
        ({"train": "head", "head": {"kind": "on_top"}}, Kind.HEAD),
        ({"train": "head", "solver": "lbfgs"}, Kind.HEAD),
        ({"train": "head", "only": "norms"}, Kind.HEAD),
        ({"train": ["stages[-1]", "head"]}, Kind.LATE),
        ({"train": ["stages", "head"]}, Kind.LATE),
        ({"train": ["stages[1:3]", "head"]}, Kind.EARLY),
        ({"train": ["stem", "stages", "head"]}, Kind.FULL),
        ({"train": "all", "gradual": 1}, Kind.GENTLE),
        ({"train": "all", "layer_decay": 0.7}, Kind.GENTLE),
        ({"train": "all", "l2_sp": 0.01}, Kind.GENTLE),
        ({"train": "all", "wise_ft": 0.5}, Kind.GENTLE),
        ({"train": "all", "auto_rgn": True}, Kind.GENTLE),
        ({"train": "all", "lr": {"all": 0.001, "head": 0.01}}, Kind.GENTLE),
        ({"milestones": {0: "head", 2: "all"}}, Kind.GENTLE),
        ({"milestones": {0: "head", 2: "stages[-1]"}}, Kind.LATE),
        ({"train": "all", "only": "norms"}, Kind.ADAPTERS),
        ({"train": "all", "only": "biases"}, Kind.ADAPTERS),
        ({"train": ["stages[-1]", "head"], "cut": 1}, Kind.LATE),
        ({"train": ["stage3", "head"], "cut": 1}, Kind.LATE),
        ({"train": ["new1", "head"], "insert": 1}, Kind.HEAD),
        ({"train": "all", "cut": 2, "insert": 1}, Kind.FULL),
        ({"train": "high", "groups": {"low": ["a.*"], "high": ["b.*"], "head": ["c.*"]}}, Kind.LATE),
        ({"train": "low", "groups": {"low": ["a.*"], "high": ["b.*"], "head": ["c.*"]}}, Kind.EARLY),
        ({"train": "top", "groups": {"low": ["a.*"], "top": ["c.*"]}}, Kind.HEAD),
    ],
    ids=lambda value: "" if isinstance(value, Kind) else "-".join(f"{key} {value[key]}" for key in value),
)
def test_a_strategy_is_what_it_trains(settings: dict[str, Any], kind: Kind) -> None:
    """Settings alone decide what kind of fine-tuning a strategy is."""
    assert kind_of(StrategyParams.model_validate(settings), PARTS) == kind


def test_auxiliary_classifiers_are_no_layers_of_the_body() -> None:
    """A network with an auxiliary classifier trains everything without it, too."""
    parts = (*PARTS[:-1], "aux", "head")
    everything = StrategyParams(train=("stem", "stages", "head"))
    assert kind_of(everything, parts) == Kind.FULL
