"""Several networks in params.yaml: who competes, under which names, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tasks import layout
from tasks.params import load_params
from tests.tasks.params.files import SMALLEST, refusal, refused_text, written

STRATEGIES: dict[str, dict[str, Any]] = {"full": {"train": "all", "lr": 0.0003}, "head_only": {"train": "head"}}
LITE = {"name": "efficientnet_lite0"}


def networks(folder: Path, **sections: Any) -> Path:
    """Write params of two strategies and MobileNetV2, with some sections replaced."""
    usual = {"backbone": {"name": "mobilenet_v2"}, "strategies": STRATEGIES}
    return written(folder, **usual | sections)


def test_one_network_competes_under_the_names_of_the_strategies(tmp_path: Path) -> None:
    """As ever, with ``backbone`` or without."""
    for sections in ({}, {"backbone": {}}):
        params = load_params(networks(tmp_path, **sections))
        assert params.candidates == params.strategies
        assert [params.title(name) for name in params.candidates] == list(STRATEGIES)


def test_every_strategy_competes_on_every_network(tmp_path: Path) -> None:
    """Its name for people has the network's; that of the backbone is the last word of its architecture's."""
    file = networks(tmp_path, backbone={"name": "timm/resnet18.a1_in1k"}, backbones={"lite0": LITE})
    params = load_params(file)
    titles = [params.title(name) for name in params.candidates]
    assert titles == ["resnet18.a1_in1k/full", "resnet18.a1_in1k/head_only", "lite0/full", "lite0/head_only"]
    assert [params.candidate(title) for title in titles] == list(params.candidates)
    assert [params.network_title(layout.network_of(name)) for name in params.candidates] == [
        title.partition("/")[0] for title in titles
    ]


@pytest.mark.parametrize("sections", [{}, {"backbone": {}}])
def test_networks_compete_among_themselves(tmp_path: Path, sections: dict[str, Any]) -> None:
    """Without ``backbone``, or with an empty one, as DVC needs it there; one may have the name of its default."""
    content = SMALLEST | {"strategies": STRATEGIES, "backbones": {"mobilenet_v2": {}, "lite0": LITE}} | sections
    file = tmp_path / "params.yaml"
    YAML(typ="safe").dump(content, file)
    params = load_params(file)
    assert set(params.candidates) == {f"{network}/{name}" for network in content["backbones"] for name in STRATEGIES}
    for name in params.candidates:
        assert params.candidate(params.title(name)) == params.title(name) == name


def test_a_network_may_have_a_strategy_otherwise(tmp_path: Path) -> None:
    """The setting that it names is its own; all others are the strategy's, and other networks keep theirs."""
    own = {"strategies": {"full": {"lr": 0.0001}}}
    candidates = load_params(networks(tmp_path, backbones={"lite0": LITE | own})).candidates
    assert candidates["lite0/full"] == candidates["full"].model_copy(update={"lr": 0.0001})
    assert candidates["full"].lr == STRATEGIES["full"]["lr"]
    assert candidates["lite0/head_only"] == candidates["head_only"]


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"backbones": {"lite-0": LITE}}, "'lite-0' cannot name a network"),
        ({"backbones": {"full": LITE}}, "'full' is the name of a strategy, too"),
        ({"backbones": {"mobilenet_v2": LITE}}, "'mobilenet_v2' is the name of the network of 'backbone', too"),
        ({"backbones": {"lite0": {"nmae": "x"}}}, "(did you mean 'name'?)"),
        ({"backbones": {"lite0": LITE | {"strategies": {"ful": {}}}}}, "no strategy 'ful' (did you mean 'full'?)"),
        ({"backbones": {"lite0": LITE | {"strategies": {"full": {"rl": 1}}}}}, "(did you mean 'lr'?)"),
        ({"backbones": {"lite0": LITE | {"strategies": {"full": {"epochs": 0}}}}}, "backbones.lite0"),
        ({"backbones": {"lite0": LITE}, "screen": {"keep": 3}}, "'screen.keep' is 3, and there are 2 networks"),
        ({"screen": {"keep": 0}}, "greater than or equal to 1"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, sections: dict[str, Any], said: str) -> None:
    """One sentence that names the place."""
    sentence = refusal(networks(tmp_path, **sections))
    assert said in sentence
    assert "\n" not in sentence


def test_two_networks_of_one_name_are_refused(tmp_path: Path) -> None:
    """YAML has a key once."""
    text = networks(tmp_path).read_text() + "backbones:\n  lite0: {}\n  lite0: {}\n"
    assert "lite0" in refused_text(tmp_path, text)


def test_stages_and_files_have_no_name_twice() -> None:
    """Names of networks have no dash, so that no two candidates share a stage, a folder or a file."""
    candidates = ["a", "a-b", "n/a", "n/a-b", "n_a/b", "m/n-a-b"]
    for place in (layout.stage_of, layout.race_file, lambda name: layout.work(name, "0"), layout.repeats):
        assert len({place(name) for name in candidates}) == len(candidates)
