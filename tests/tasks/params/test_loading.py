"""params.yaml: what is understood, and how what is not understood is named."""

from pathlib import Path
from typing import Any

import pytest

from tasks.errors import UserError
from tasks.params import Params, SplitParams, load_params
from tests.support.paths import ROOT
from tests.tasks.params.files import refusal, refused_text, written


def test_shipped_file_has_the_eight_strategies() -> None:
    """The file in the repository is valid and holds the eight ways of fine-tuning."""
    params = load_params(ROOT / "params.yaml")
    assert set(params.strategies) == {
        "scratch", "head_only", "new_layers", "input_layer", "freeze_first", "last_stage", "full", "lp_ft",
    }  # fmt: skip
    assert params.strategy("scratch").start == "random"
    assert {name for name, strategy in params.strategies.items() if strategy.start == "random"} == {"scratch"}
    assert params.strategy("new_layers").head.kind == "on_top"
    assert params.strategy("full").lr < params.strategy("scratch").lr
    assert [phase.train for phase in params.strategy("lp_ft").schedule()] == [("head",), ("all",)]


def test_smallest_file_is_enough(tmp_path: Path) -> None:
    """Everything but the data and one strategy has a default."""
    params = load_params(written(tmp_path))
    assert params.data.path == "photos"
    assert params.strategy("probe").train == ("head",)


@pytest.mark.parametrize(
    ("sections", "where", "meant"),
    [
        ({"augmnet": {}}, "augmnet", "augment"),
        ({"data": {"source": "folder", "path": "p", "siez": 64}}, "data.siez", "size"),
        ({"split": {"tset": 0.2}}, "split.tset", "test"),
        ({"backbone": {"wieghts": "none"}}, "backbone.wieghts", "weights"),
        ({"augment": {"filps": True}}, "augment.filps", "flips"),
        ({"train": {"epocs": 3}}, "train.epocs", "epochs"),
        ({"compare": {"metrics": "auroc"}}, "compare.metrics", "metric"),
        ({"strategies": {"a": {"train": "head", "strat": "random"}}}, "strategies.a.strat", "start"),
        ({"strategies": {"a": {"train": "head", "head": {"hiden": 4}}}}, "strategies.a.head.hiden", "hidden"),
        ({"strategies": {"a": {"phases": [{"trian": "all"}]}}}, "strategies.a.phases.0.trian", "train"),
        (
            {"strategies": {"a": {"phases": [{"train": "all"}, {"train": "all", "epoch": 1}]}}},
            "strategies.a.phases.1.epoch",
            "epochs",
        ),
        ({"strategies": {"head": {"train": "head", "optimiser": "sgd"}}}, "strategies.head.optimiser", "optimizer"),
    ],
)
def test_misspelt_key_names_the_nearest(tmp_path: Path, sections: dict[str, Any], where: str, meant: str) -> None:
    """A key that isn't known is named with its place, at every level, together with the key that was meant."""
    said = refusal(written(tmp_path, **sections))
    assert f"'{where}' is not a known key (did you mean '{meant}'?)" in said
    assert str(tmp_path / "params.yaml") in said


def test_unlike_key_lists_the_choices(tmp_path: Path) -> None:
    """A key unlike any other gets the whole list."""
    said = refusal(written(tmp_path, split={"zzz": 1}))
    assert f"choose from: {', '.join(sorted(SplitParams.model_fields))}" in said


def test_misspelt_shared_setting_is_reported_once(tmp_path: Path) -> None:
    """A misspelt key under train is train's mistake, not that of every strategy."""
    said = refusal(written(tmp_path, train={"epocs": 3}, strategies={n: {"train": "head"} for n in ("a", "b")}))
    assert said.count("epocs") == 1
    assert "strategies" not in said


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    """Two mistakes need one run, not two."""
    said = refusal(written(tmp_path, split={"tset": 0.2}, augment={"flips": "perhaps"}))
    assert "split.tset" in said
    assert "augment.flips" in said


@pytest.mark.parametrize(
    ("sections", "where"),
    [
        ({"data": {"source": "web", "path": "p"}}, "data.source"),
        ({"data": {"source": "folder", "path": 3}}, "data.path"),
        ({"data": {"source": "folder", "path": "p", "channels": 0}}, "data.channels"),
        ({"data": {"source": "folder", "path": "p", "size": "large"}}, "data.size"),
        ({"data": {"source": "folder", "path": "p", "size": 2}}, "data.size"),
        ({"data": {"source": "folder"}}, "data.path"),
        ({"backbone": {"sha256": "abc"}}, "backbone.sha256"),
        ({"augment": None}, "augment"),
        ({"train": 3}, "train"),
        ({"train": {"epochs": 2.5}}, "train.epochs"),
        ({"train": {"optimizer": "adam"}}, "train.optimizer"),
        ({"train": {"weight_decay": float("inf")}}, "train.weight_decay"),
        ({"train": {"sampling": "even"}}, "train.sampling"),
        ({"train": {"focal_gamma": -1}}, "train.focal_gamma"),
        ({"train": {"logit_adjustment": float("inf")}}, "train.logit_adjustment"),
        ({"strategies": {"a": {"train": "all", "logit_adjustment": -0.5}}}, "strategies.a.logit_adjustment"),
        ({"compare": {"confidence": 95}}, "compare.confidence"),
        ({"strategies": {}}, "strategies"),
        ({"strategies": ["a"]}, "strategies"),
        ({"strategies": {"a": "head"}}, "strategies.a"),
        ({"strategies": {"a": {"train": 3}}}, "strategies.a.train"),
        ({"strategies": {"a": {"train": []}}}, "strategies.a.train"),
        ({"strategies": {"a": {"train": "head", "head": "on_top"}}}, "strategies.a.head"),
        ({"strategies": {"a": {"lr": 1}}}, "strategies.a"),
        ({"strategies": {"a": {"train": "all", "phases": [{"train": "all"}]}}}, "strategies.a"),
        ({"strategies": {"a": {"phases": [{"train": "all", "epochs": 0}]}}}, "strategies.a.phases.0.epochs"),
        ({"strategies": {"a": {"train": "all", "adapters": {}, "only": "norms"}}}, "strategies.a"),
        ({"strategies": {"a": {"train": "all", "adapters": {}, "soup": 2}}}, "strategies.a"),
        ({"strategies": {"a": {"train": "all", "head": {"kind": "on_top"}, "cut": 1}}}, "strategies.a"),
        ({"strategies": {"a": {"train": "all", "batch_size": 8, "micro_batch": 9}}}, "strategies.a"),
        ({"strategies": {"a": {"milestones": {0: "head"}, "gradual": 1}}}, "strategies.a"),
        ({"strategies": {"a": {"train": "all", "wise_ft": [0.5, 1.5]}}}, "strategies.a.wise_ft.1"),
    ],
)
def test_wrong_value_names_its_place(tmp_path: Path, sections: dict[str, Any], where: str) -> None:
    """A value of a wrong type, out of range, or absent is refused with the place it stands at."""
    assert f"'{where}'" in refusal(written(tmp_path, **sections))


@pytest.mark.parametrize("name", ["", "two words", "../up", "a/b", "-dash", "ä", "x" * 65])
def test_strategy_name_that_makes_no_folder(tmp_path: Path, name: str) -> None:
    """A strategy's name becomes a folder and a stage, so odd characters are refused by name."""
    said = refusal(written(tmp_path, strategies={name: {"train": "head"}}))
    assert f"'{name}' cannot name a strategy" in said


def test_unknown_strategy_names_the_nearest() -> None:
    """Asking for a strategy that isn't there names the one that was meant."""
    params = load_params(ROOT / "params.yaml")
    with pytest.raises(UserError, match=r"no strategy 'hed_only' \(did you mean 'head_only'\?\)"):
        params.strategy("hed_only")


def test_a_misspelt_key_of_a_section_within_names_the_nearest(tmp_path: Path) -> None:
    """Also where the section may be absent."""
    said = refusal(written(tmp_path, strategies={"a": {"train": "all", "adapters": {"rnak": 4}}}))
    assert "'strategies.a.adapters.rnak' is not a known key" in said
    assert "did you mean 'rank'" in said


def test_shared_settings_are_inherited_and_overridden(tmp_path: Path) -> None:
    """What stands under train holds for every strategy that doesn't say otherwise."""
    params = load_params(
        written(
            tmp_path,
            train={"epochs": 9, "optimizer": "sgd", "batch_size": 4},
            strategies={"quiet": {"train": "head"}, "other": {"train": "all", "epochs": 2, "optimizer": "adamw"}},
        )
    )
    quiet, other = params.strategy("quiet"), params.strategy("other")
    assert (quiet.epochs, quiet.optimizer, quiet.batch_size) == (9, "sgd", 4)
    assert (other.epochs, other.optimizer, other.batch_size) == (2, "adamw", 4)


@pytest.mark.parametrize(
    "text",
    [
        "data: [",
        "data: {source: folder\n",
        "a: b: c",
        "\tdata: 1",
        "data: *nowhere",
        "data: 2001-13-45",
        "data: !!python/object/apply:os.getcwd []",
        b"data: \xff\xfe",
        "data: {}\n---\ndata: {}\n",
    ],
)
def test_bad_yaml_is_one_sentence(tmp_path: Path, text: str | bytes) -> None:
    """What YAML can't read is said in one line that names the file."""
    said = refused_text(tmp_path, text)
    assert "params.yaml is not valid YAML" in said
    assert "\n" not in said


def test_duplicate_key_is_refused_by_name(tmp_path: Path) -> None:
    """The second of two equal keys doesn't silently win."""
    said = refused_text(tmp_path, "data: {source: folder, path: p}\ntrain: {lr: 1}\ntrain: {lr: 2}\n")
    assert 'duplicate key "train"' in said
    assert "line 3" in said


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "- data\n", "data\n"])
def test_file_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    """An empty file, a list or a word is told that sections are wanted."""
    assert "must be a mapping of sections" in refused_text(tmp_path, text)


def test_missing_file_says_where_to_run(tmp_path: Path) -> None:
    """Run in another folder, the command says so."""
    said = refusal(tmp_path / "params.yaml")
    assert str(tmp_path / "params.yaml") in said
    assert "root of the repository" in said


def test_params_cannot_be_changed_by_accident() -> None:
    """Settings that a run has read stay as they were read."""
    params: Params = load_params(ROOT / "params.yaml")
    with pytest.raises(ValueError, match="frozen"):
        params.train.epochs = 1  # type: ignore[misc]
