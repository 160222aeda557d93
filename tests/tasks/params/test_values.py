"""What is written in several ways: learning rates and times."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.params import StrategyParams, load_params
from tests.tasks.params.files import refused_text, written


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


@pytest.mark.parametrize(
    ("written_as", "seconds"), [("10m", 600), ("1.5h", 5400), ("90 s", 90), (45, 45), ("none", "none"), (None, "auto")]
)
def test_a_budget_is_a_time(tmp_path: Path, written_as: Any, seconds: float | str) -> None:
    """With a unit or in seconds, or none; by default it is as long as it takes."""
    assert load_params(written(tmp_path, train={"budget": written_as})).train.budget == seconds
    assert load_params(written(tmp_path)).train.budget == "auto"
