"""What sections and keys mean is said, of each."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tasks.params import Params, StrategyParams, load_params
from tasks.params.meanings import example, meanings, purpose, sections
from tasks.params.section import Section
from tests.tasks.params.files import written

SECTIONS = list(sections(Params))


def test_all_sections_are_walked() -> None:
    """Those within others, too, and those in a list or by name."""
    names = {section.__name__.removesuffix("Params") for section in SECTIONS}
    assert {"Data", "Parts", "Strategy", "Phase", "Adapters", "Head", "Stem", "Run"} <= names


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_key_says_what_it_means(section: type[Section]) -> None:
    """In sentences; those that a strategy has in common with train included."""
    texts = meanings(section)
    assert set(texts) == set(section.model_fields)
    for text in texts.values():
        assert text[0].isupper() or text[0] in "`0123456789"
        assert text.endswith(".")
        assert "``" not in text


def test_a_strategy_says_what_train_says() -> None:
    """A shared key is described in one place."""
    assert meanings(StrategyParams)["momentum"] == "Momentum of `sgd`; `adamw` has none."


@pytest.mark.parametrize("section", SECTIONS[1:], ids=lambda section: section.__name__)
def test_every_section_has_an_example(section: type[Section], tmp_path: Path) -> None:
    """Which can be written as it stands, below the rest of a params.yaml."""
    assert purpose(section).endswith(".")
    load_params(written(tmp_path, **YAML(typ="safe").load(example(section))))
