"""backbone.parts of params.yaml in place of what is known or found out."""

from typing import Any

import pytest

from tasks.backbones import catalogue
from tasks.errors import UserError
from tasks.params import PartsParams
from tests.tasks.backbones.skeletons import assert_divided, assert_runs_in_order, skeleton

NAME = "squeezenet1_1"
STATED: dict[str, Any] = {
    "stem": ["features.0"],
    "stages": [["features.3", "features.4"], [f"features.{number}" for number in range(6, 13)]],
    "head": "classifier.1",
}


def stated(**changes: Any) -> PartsParams:
    """Return parts of the small network, with some of them changed."""
    return PartsParams.model_validate(STATED | changes)


def test_parts_are_as_stated() -> None:
    """The stages are those that are stated, and layers without weights are added to them."""
    architecture, model = catalogue.find(NAME, stated()), skeleton(NAME)
    parts = assert_divided(architecture, model)
    assert_runs_in_order(architecture, model, parts, architecture.size)
    assert [part.name for part in parts] == ["stem", "stage1", "stage2", "head"]
    assert parts[1].owns("features.2")
    assert parts[1].owns("features.4.expand3x3")
    assert parts[2].owns("features.5")
    assert len(catalogue.find(NAME).split(model)) == len(parts) + 1


def test_auxiliary_classifiers_stay_a_part() -> None:
    """They need not be stated."""
    trunk = catalogue.find("googlenet").split(skeleton("googlenet"))
    stages = [part.prefixes for part in trunk if part.name.startswith("stage")]
    parts = PartsParams(stem=("conv1",), stages=(sum(stages[:6], ()), sum(stages[6:], ())), head="fc")
    architecture = catalogue.find("googlenet", parts)
    assert [part.name for part in assert_divided(architecture, skeleton("googlenet"))][-3:] == [
        "stage2", "aux", "head"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stem": "feature.0"}, r"stem names 'feature\.0', which squeezenet1_1 lacks \(did you mean 'features\.0'"),
        ({"stages": [["body"]]}, r"stage1 names 'body', .* \(choose from: classifier, classifier\.0, .*features"),
        ({"head": "classifier"}, r"head 'classifier' is a Sequential, where .*nn\.Linear"),
        ({"head": "classifier.1.weight"}, r"head 'classifier\.1\.weight' is a tensor"),
        ({"head": "features.0"}, r"head 'features\.0' is a Conv2d"),
        ({"stages": [STATED["stages"][0]]}, r"'features\.6\.\S+' that is in none of its parts"),
        ({"stages": [["features.3"], ["features"]]}, r"'features\.0\.weight' that is in the parts stem and stage2"),
        ({"stages": [*STATED["stages"], ["features.2"]]}, r"stage3 \(features\.2\) has no weights"),
    ],
)
def test_statement_that_does_not_fit_is_refused(changes: dict[str, Any], said: str) -> None:
    """What is misspelt, forgotten or named twice is said in one sentence."""
    with pytest.raises(UserError, match=said) as caught:
        catalogue.find(NAME, stated(**changes)).split(skeleton(NAME))
    assert "params.yaml: backbone" in str(caught.value)
