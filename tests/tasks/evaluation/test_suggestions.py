"""What is suggested is a configuration: it can be pasted, is read as what was meant, and changes what it says."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tasks.evaluation import suggestions
from tasks.evaluation.suggestions import Suggestion
from tasks.params import StrategyParams, TrainParams, load_params
from tasks.strategies.planning import learning_rate
from tests.support.paths import ROOT
from tests.tasks.networks import network

SHIPPED = load_params(ROOT / "params.yaml")
PRETRAINING = 0.1


def strategy(**settings: Any) -> StrategyParams:
    """Return a strategy."""
    return StrategyParams.model_validate(settings)


def every_suggestion(settings: StrategyParams) -> list[Suggestion]:
    """Return all that can be suggested for a strategy."""
    phases = [phase.epochs or 0 for phase in settings.schedule()]
    schedule = suggestions.schedule_of(settings, phases, sum(phases) - 1)
    suggested = [
        suggestions.other_rate(settings, schedule, 0.1, 0.01),
        suggestions.found_rate(settings, schedule),
        suggestions.more_epochs(settings),
        suggestions.regularised(settings, trains_pretrained=True),
        suggestions.regularised(settings, trains_pretrained=False),
        suggestions.thawed_further(settings, "stage2"),
        suggestions.head_first(settings, 0.01),
    ]
    return [suggestion for suggestion in suggested if suggestion]


def pasted(text: str, folder: Path, shared: dict[str, Any]) -> dict[str, StrategyParams]:
    """Return the strategies of a params.yaml that a text was pasted into."""
    target = folder / "params.yaml"
    with target.open("w") as stream:
        YAML().dump({"data": {"source": "folder", "path": "photos"}, "train": shared}, stream)
        stream.write(text)
    return load_params(target).strategies


WALKED = {name: settings for name, settings in SHIPPED.strategies.items() if name != "head_only"}
OTHERS = {
    "found": strategy(train="all", lr="find"),
    "by_part": strategy(train=["stages[2:]", "head"], lr={"stages": 0.00001, "head": "pretraining/10"}),
    "gradual": strategy(train="all", gradual=1, epochs=9, seed=3),
    "milestones": strategy(milestones={0: "head", 2: "stages[3:]"}),
    "adapters": strategy(train="all", adapters={"rank": 4}),
    "phases": strategy(
        phases=[{"train": "head"}, {"train": "stages[-1]", "lr": 0.1}, {"train": "all", "continues": True}]
    ),
    "pulled": strategy(train="all", l2_sp=0.5, label_smoothing=0.2, weight_decay=1.0, wise_ft=[0.5, 0.7]),
}


@pytest.mark.parametrize("settings", [*WALKED.values(), *OTHERS.values()], ids=[*WALKED, *OTHERS])
@pytest.mark.parametrize("shared", [{}, {"batch_size": 32, "micro_batch": 8, "lr": 0.02}], ids=["plain", "shared"])
def test_what_is_suggested_can_be_pasted(settings: StrategyParams, shared: dict[str, Any], tmp_path: Path) -> None:
    """Read back from params.yaml, under shared settings that differ, too, it is the strategy with what changes."""
    suggested = every_suggestion(settings)
    assert len(suggested) >= 3
    for suggestion in suggested:
        text = suggestions.as_yaml("next_one", settings, suggestion, TrainParams.model_validate(shared))
        assert pasted(text, tmp_path, shared) == {"next_one": suggestions.merged(settings, suggestion)}


def test_the_text_says_no_more_than_it_must(tmp_path: Path) -> None:
    """Defaults and shared settings are left out; what the strategy sets for itself, or what is suggested, is not."""
    full = SHIPPED.strategy("full").model_copy(update={"optimizer": "sgd", "batchnorm": "frozen"})
    text = suggestions.as_yaml("gentler", full, {"lr": 0.001}, SHIPPED.train)
    changed = {"train": ["all"], "optimizer": "sgd", "batchnorm": "frozen", "lr": 0.001, "epochs": full.epochs}
    assert YAML(typ="safe").load(text) == {"strategies": {"gentler": changed}}


@pytest.mark.parametrize("factor", [0.1, 10.0])
@pytest.mark.parametrize("lr", [3e-4, 1e-5, "pretraining/10", "pretraining", "find"])
def test_the_rate_is_multiplied_however_it_is_written(lr: float | str, factor: float) -> None:
    """A rate that was found counts as what was found."""
    settings, peak = strategy(train="all", lr=lr), 0.02
    changed = suggestions.merged(settings, suggestions.other_rate(settings, range(1), factor, peak))
    before = peak if lr == "find" else learning_rate(settings.lr, PRETRAINING)  # type: ignore[arg-type]
    assert isinstance(changed.lr, float | str)
    assert learning_rate(changed.lr, PRETRAINING) == pytest.approx(factor * before)


def test_the_rates_of_all_parts_are_multiplied() -> None:
    """Of a mapping each, relative ones too."""
    settings = OTHERS["by_part"]
    changed = suggestions.merged(settings, suggestions.other_rate(settings, range(1), 0.1, 1.0))
    assert changed.lr == {"stages": pytest.approx(0.000001), "head": "pretraining/100"}


def test_only_the_schedule_in_question_changes() -> None:
    """Phases that continue a schedule belong to it; the phase before it keeps its rate."""
    settings = OTHERS["phases"]
    last = suggestions.schedule_of(settings, [6, 6, 6], 13)
    assert last == suggestions.schedule_of(settings, [6, 6, 6], 6) == range(1, 3)
    assert suggestions.schedule_of(settings, [6, 6, 6], 5) == range(1)
    changed = suggestions.merged(settings, suggestions.other_rate(settings, last, 0.1, 1.0))
    before, after = settings.schedule(), changed.schedule()
    assert after[0] == before[0]
    assert [phase.lr for phase in after[1:]] == [pytest.approx(0.01), pytest.approx(0.00001)]
    assert changed.phases[2].continues


def test_a_rate_is_found_once() -> None:
    """Where a range test chose it, another one finds nothing new."""
    assert suggestions.found_rate(OTHERS["found"], range(1)) is None
    assert suggestions.found_rate(strategy(train="all"), range(1)) == {"lr": "find"}


@pytest.mark.parametrize("name", ["full", "lp_ft", "gradual", "milestones", "phases"])
def test_more_epochs_are_more_epochs_of_the_last_phase(name: str) -> None:
    """All phases before it stay as they are."""
    settings = WALKED.get(name) or OTHERS[name]
    before, after = (s.schedule() for s in (settings, suggestions.merged(settings, suggestions.more_epochs(settings))))
    assert after[:-1] == before[:-1]
    assert (after[-1].epochs or 0) >= 2 * (before[-1].epochs or 0)


def test_regularisation_grows_until_there_is_no_more() -> None:
    """Every suggestion pulls harder than the settings it was made for; in the end there is none."""
    settings = strategy(train="all")
    pulls = [settings.l2_sp]
    while suggestion := suggestions.regularised(settings, trains_pretrained=True):
        settings = suggestions.merged(settings, suggestion)
        pulls.append(settings.l2_sp)
        assert len(pulls) < 10
    assert pulls == sorted(set(pulls))
    assert len(pulls) > 2
    assert settings.label_smoothing > 0
    stronger = suggestions.regularised(strategy(train="all", start="random"), trains_pretrained=False)
    assert stronger is not None
    assert stronger["weight_decay"] > strategy(train="all").weight_decay


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        (SHIPPED.strategy("head_only"), "stage5"),
        (SHIPPED.strategy("last_stage"), "stage4"),
        (strategy(phases=[{"train": "head", "epochs": 2}, {"train": ["stages[4:]", "head"]}]), "stage4"),
        (strategy(phases=[{"train": "head", "solver": "lbfgs"}]), "stage5"),
    ],
    ids=["solved", "train", "phases", "solved phase"],
)
def test_one_more_part_thaws(settings: StrategyParams, part: str) -> None:
    """On a real network the part trains in the end, with all that trained before."""
    changed = suggestions.thawed_further(settings, part)
    assert changed is not None
    before, after = (network("mobilenet_v2", s)[1] for s in (settings, suggestions.merged(settings, changed)))
    last = [set(plan.rates(plan.epochs - 1)) for plan in (before, after)]
    assert last[1] == last[0] | {part}
    assert not after.phases[-1].solved


def test_the_head_comes_first_where_it_can_be_solved() -> None:
    """Then all that trained does so at a tenth of its rate; heads that can't be solved have no such suggestion."""
    changed = suggestions.head_first(strategy(train=["stages[3:]", "head"], lr=0.01), 0.01)
    assert changed is not None
    head, after = suggestions.merged(strategy(train=["stages[3:]", "head"], lr=0.01), changed).schedule()
    assert (head.train, head.solver) == (("head",), "lbfgs")
    assert (after.train, after.solver) == (("stages[3:]", "head"), "steps")
    assert after.lr == pytest.approx(0.001)
    for settings in ({"head": {"kind": "mlp"}}, {"sampling": "balanced"}, {"gradual": 1}, {"insert": 1}):
        assert suggestions.head_first(strategy(train="all", **settings), 0.01) is None
    assert suggestions.head_first(SHIPPED.strategy("lp_ft"), 0.01) is None
