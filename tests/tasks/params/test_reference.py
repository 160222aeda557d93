"""``python -m tasks params``: what is printed of a section, a key, and a word that is neither."""

import io
import subprocess
import sys

import pytest
from rich.console import Console

from tasks.errors import UserError
from tasks.params.keys import paths
from tasks.params.reference import explain, find
from tests.support.paths import ROOT


def said(asked: str) -> str:
    """Return what is printed, on one line."""
    console = Console(file=io.StringIO(), width=400)
    explain(asked, console)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def test_the_command_prints_a_key() -> None:
    """With what it may be, its default and what it means; without a traceback where it isn't one."""
    command = [sys.executable, "-m", "tasks", "params"]
    printed = subprocess.run([*command, "train.patience"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "integer from 1; default: 5" in printed
    assert "without a better validation loss" in printed
    refused = subprocess.run([*command, "optimiser"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr == "thawline: params.yaml has no key 'optimiser' (did you mean 'optimizer'?)\n"


def test_without_a_word_all_sections_are_named() -> None:
    """Each with what it is for."""
    printed = said("")
    assert "data Where the images come from and how they are read." in printed
    for section in ("split", "backbone", "augment", "train", "compare", "retrain", "run", "strategies"):
        assert f" {section} " in printed


def test_a_section_lists_its_keys() -> None:
    """With an example, and where to look for those within."""
    printed = said("backbone")
    assert "sha256 text; default: unset" in printed
    assert "parts python -m tasks params parts" in printed
    assert "Example: backbone: name: convnext_tiny" in printed


def test_a_strategy_has_the_keys_of_train() -> None:
    """They aren't listed again."""
    printed = said("strategies")
    assert "every key of train but budget, seeds, shares" in printed
    assert "momentum" not in printed


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("size", ["data.size", "train.size"]),
        ("sha256", ["backbone.sha256", "backbones.NAME.sha256"]),
        ("data.size", ["data.size"]),
        ("train", ["train"]),
        ("lr", ["backbone.lr", "backbones.NAME.lr", "train.lr", "strategies.NAME.phases.N.lr"]),
        ("strategies.full.lr", ["strategies.NAME.lr"]),
        ("strategies.full", ["backbones.NAME.strategies", "strategies"]),
        ("strategies.full.train", ["strategies.NAME.train"]),
        ("strategies.lp_ft.phases.0.epochs", ["strategies.NAME.phases.N.epochs"]),
        ("phases.epochs", ["strategies.NAME.phases.N.epochs"]),
        ("adapters.rank", ["strategies.NAME.adapters.rank"]),
        ("rank", ["strategies.NAME.adapters.rank"]),
    ],
)
def test_a_key_is_found_by_any_end_of_its_path(asked: str, names: list[str]) -> None:
    """Also by the path that a message names, with the strategy's own name in it."""
    chosen, _ = find(asked)
    assert [name for name, _ in chosen] == names


def test_a_section_names_keys_that_are_called_alike() -> None:
    """What trains is a key of a strategy."""
    assert said("train").endswith("There is also: strategies.NAME.train, strategies.NAME.phases.N.train.")


@pytest.mark.parametrize("name", [".".join(path) for path, _ in paths()])
def test_every_key_is_found_by_its_path(name: str) -> None:
    """And says what it means."""
    ((path, key),), _ = find(name)
    assert path == name
    assert said(name).startswith(name)
    assert key.section or key.meaning in said(name)


@pytest.mark.parametrize(
    ("asked", "meant"), [("trian", "train"), ("data.siez", "size"), ("strategies.full.hed", "head")]
)
def test_a_misspelt_word_names_the_nearest(asked: str, meant: str) -> None:
    """Wherever in the file the key stands that was meant."""
    with pytest.raises(UserError, match=rf"no key '{asked}' \(did you mean '{meant}'\?\)"):
        explain(asked)
