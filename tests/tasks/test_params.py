"""params.yaml: what is understood, and how what is not understood is named."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tasks.errors import UserError
from tasks.params import Params, SplitParams, StrategyParams, load_params
from tests.support.paths import ROOT


def written(folder: Path, **sections: Any) -> Path:
    """Write a small valid params.yaml with some sections replaced."""
    content = {
        "data": {"source": "folder", "path": "photos"},
        "strategies": {"probe": {"train": "head"}},
        **sections,
    }
    target = folder / "params.yaml"
    YAML(typ="safe").dump(content, target)
    return target


def refusal(source: Path) -> str:
    """Return the sentence that a params file is refused with."""
    with pytest.raises(UserError) as caught:
        load_params(source)
    return str(caught.value)


def refused_text(folder: Path, text: str | bytes) -> str:
    """Return the sentence that a text is refused with as params.yaml."""
    target = folder / "params.yaml"
    target.write_bytes(text.encode() if isinstance(text, str) else text)
    return refusal(target)


def test_shipped_file_has_the_eight_strategies() -> None:
    """The file in the repository is valid and holds the eight ways of fine-tuning."""
    params = load_params(ROOT / "params.yaml")
    assert set(params.strategies) == {
        "scratch", "head_only", "new_layers", "input_layer", "freeze_first", "last_stage", "full", "lp_ft",
    }  # fmt: skip
    assert params.strategy("scratch").start == "random"
    assert {name for name, own in params.strategies.items() if own.start == "random"} == {"scratch"}
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


CORRECTIONS: dict[str, Any] = {"class_weights": True, "sampling": "balanced", "logit_adjustment": 1.0}


@pytest.mark.parametrize("pair", itertools.combinations(CORRECTIONS, 2), ids="-".join)
def test_class_frequencies_are_corrected_once(tmp_path: Path, pair: tuple[str, str]) -> None:
    """Two corrections are refused by their names, also where one of them is shared; each goes with the focal loss."""
    first, second = ({key: CORRECTIONS[key]} for key in pair)
    both = written(tmp_path, train=first, strategies={"a": {"train": "all", **second}})
    assert re.search(f"'strategies.a'.*'{pair[0]}.*'{pair[1]}.*correct for the same class frequencies", refusal(both))
    for alone in (first, second):
        params = load_params(written(tmp_path, train={**alone, "focal_gamma": 2}))
        assert params.strategy("probe").focal_gamma == 2


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


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("3e-5", 3e-5),  # YAML takes this for text
        ('"3e-5"', 3e-5),
        ("0.00003", 3e-5),
        ("1", 1.0),
        ("pretraining", "pretraining"),
        ("pretraining/10", "pretraining/10"),
        ("pretraining / 2.5", "pretraining / 2.5"),
    ],
)
def test_learning_rate_forms(tmp_path: Path, text: str, rate: float | str) -> None:
    """A rate is a number in any notation or a share of the pretraining's."""
    source = tmp_path / "params.yaml"
    source.write_text(f"data: {{source: folder, path: p}}\nstrategies: {{a: {{train: all, lr: {text}}}}}\n")
    assert load_params(source).strategy("a").lr == rate


def test_a_misspelt_key_of_a_section_within_names_the_nearest(tmp_path: Path) -> None:
    """Also where the section may be absent."""
    said = refusal(written(tmp_path, strategies={"a": {"train": "all", "adapters": {"rnak": 4}}}))
    assert "'strategies.a.adapters.rnak' is not a known key" in said
    assert "did you mean 'rank'" in said


@pytest.mark.parametrize(
    "text", ["0", "-0.1", "fast", "true", "null", ".nan", ".inf", "[0.1]", "pretraining/0", "pretraining/-1", "pre/10"]
)
def test_what_is_no_learning_rate(tmp_path: Path, text: str) -> None:
    """Anything else is refused, in a strategy and in a phase."""
    head = "data: {source: folder, path: p}\n"
    said = refused_text(tmp_path, f"{head}strategies: {{a: {{train: all, lr: {text}}}}}\n")
    assert "'strategies.a.lr'" in said
    assert "is not a learning rate" in said
    if text != "null":
        phases = f"[{{train: all, lr: {text}}}]"
        said = refused_text(tmp_path, f"{head}strategies: {{a: {{phases: {phases}}}}}\n")
        assert "'strategies.a.phases.0.lr'" in said


@given(st.floats(min_value=1e-12, max_value=100, allow_nan=False))
@example(3e-5)
def test_rate_is_the_same_as_number_and_as_text(rate: float) -> None:
    """However a positive rate is written, the number is kept exactly."""
    for form in (rate, repr(rate), f"{rate:.17e}", f"  {rate!r} "):
        assert StrategyParams.model_validate({"train": "all", "lr": form}).lr == rate


@given(st.integers(1, 10_000), st.sampled_from(["", " "]))
def test_relative_rate_keeps_its_divisor(divisor: int, space: str) -> None:
    """Any positive divisor of the pretraining's rate is taken, with spaces or without."""
    text = f"pretraining{space}/{space}{divisor}"
    rate = StrategyParams.model_validate({"train": "all", "lr": text}).lr
    assert isinstance(rate, str)
    assert rate.replace(" ", "") == f"pretraining/{divisor}"


def test_shared_settings_are_inherited_and_overridden(tmp_path: Path) -> None:
    """What stands under train holds for every strategy that doesn't say otherwise."""
    params = load_params(
        written(
            tmp_path,
            train={"epochs": 9, "optimizer": "sgd", "batch_size": 4},
            strategies={"quiet": {"train": "head"}, "own": {"train": "all", "epochs": 2, "optimizer": "adamw"}},
        )
    )
    quiet, own = params.strategy("quiet"), params.strategy("own")
    assert (quiet.epochs, quiet.optimizer, quiet.batch_size) == (9, "sgd", 4)
    assert (own.epochs, own.optimizer, own.batch_size) == (2, "adamw", 4)


def test_phases_take_what_they_leave_out_from_their_strategy(tmp_path: Path) -> None:
    """A phase without epochs or rate has those of the strategy, which has those of train."""
    phases = [{"train": "head", "lr": "pretraining/4"}, {"train": ["stem", "head"], "epochs": 3}]
    params = load_params(
        written(tmp_path, train={"epochs": 9, "lr": 0.5}, strategies={"a": {"phases": phases, "lr": 0.25}})
    )
    first, second = params.strategy("a").schedule()
    assert (first.train, first.epochs, first.lr) == (("head",), 9, "pretraining/4")
    assert (second.train, second.epochs, second.lr) == (("stem", "head"), 3, 0.25)


def test_strategy_without_phases_is_one_phase(tmp_path: Path) -> None:
    """train alone is a schedule of a single phase."""
    (only,) = load_params(written(tmp_path, train={"epochs": 4, "lr": 0.5})).strategy("probe").schedule()
    assert (only.train, only.epochs, only.lr) == (("head",), 4, 0.5)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"validation": 0.5, "test": 0.5}, "nothing to train on"),
        ({"validation": 0.9}, "nothing to train on"),
        ({"test": 0}, "'split.test'"),
        ({"validation": -0.1}, "'split.validation'"),
        ({"validation": 1.5}, "'split.validation'"),
    ],
)
def test_split_shares_leave_something_to_train_on(tmp_path: Path, split: dict[str, float], said: str) -> None:
    """Each share is between 0 and 1, and both together are below 1."""
    assert said in refusal(written(tmp_path, split=split))


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


@pytest.mark.parametrize("near", [True, 0.4, 1.1, "yes"])
def test_how_alike_is_a_number_or_off(tmp_path: Path, near: Any) -> None:
    """``true`` is not silently taken for 1, the strictest comparison."""
    assert "split.near_duplicates" in refusal(written(tmp_path, split={"near_duplicates": near}))


def test_own_images_never_lie_where_fetched_ones_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the folder is written: what is in it would be lost."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/fetched/photos").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "data/fetched/photos")
    for path in ("data/fetched/photos", tmp_path / "data/fetched/photos", "data/../data/fetched", tmp_path / "link"):
        said = refusal(written(tmp_path, data={"source": "folder", "path": str(path)}))
        assert "is in data/fetched, which holds what is fetched" in said


@pytest.mark.parametrize(
    ("written_as", "seconds"), [("10m", 600), ("1.5h", 5400), ("90 s", 90), (45, 45), (None, None)]
)
def test_a_budget_is_a_time(tmp_path: Path, written_as: Any, seconds: float | None) -> None:
    """With a unit or in seconds; none at all is the default."""
    assert load_params(written(tmp_path, train={"budget": written_as})).train.budget == seconds
    assert load_params(written(tmp_path)).train.budget is None


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ({"budget": "soon"}, "'soon' is no time: write seconds, or a number with s, m or h, such as 10m"),
        ({"budget": 0}, "'train.budget': input should be greater than 0"),
        ({"seeds": 0}, "'train.seeds': input should be greater than or equal to 1"),
        ({"shares": [0.1, 1.0]}, "'train.shares.1': input should be less than 1"),
    ],
)
def test_wrong_repeats_and_budgets_are_named(tmp_path: Path, own: dict[str, Any], sentence: str) -> None:
    """One sentence says what is wrong and where."""
    assert sentence in refusal(written(tmp_path, train=own))


def test_repeats_are_the_same_for_every_strategy(tmp_path: Path) -> None:
    """A strategy has no number of seeds, shares or budget of its own."""
    for key, value in {"seeds": 2, "shares": [0.5], "budget": "1m"}.items():
        source = written(tmp_path, strategies={"probe": {"train": "head", key: value}})
        assert f"'strategies.probe.{key}' is not a known key" in refusal(source)


def test_a_cluster_is_named_by_its_address(tmp_path: Path) -> None:
    """In any of Ray's ways; nothing else is taken for one, and the default is none."""
    assert load_params(written(tmp_path)).run.ray is None
    for address in ("auto", "local", "10.0.0.1:6379", "gpu-box.example:6379", "[fe80::1]:6379", "ray://head:10001"):
        assert load_params(written(tmp_path, run={"ray": address})).run.ray == address
    for wrong in ("head", "http://head:8265", "head:99999", "ray://head", "10.0.0.1:6379/x", True):
        assert "'run.ray'" in refusal(written(tmp_path, run={"ray": wrong}))
