"""``comparison.json`` can be read back, and its JSON Schema knows it."""

import json
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from tasks.comparison.schema import Comparison
from tests.tasks.comparison.conftest import MakeEntrant, comparison_of, ranked_of, with_undefined_auroc


@pytest.fixture
def comparison(entrant: MakeEntrant) -> Comparison:
    """A comparison with a metric that is undefined."""
    best, other = ranked_of([entrant("a", 2.0), entrant("b", 1.0)])
    return comparison_of([best, with_undefined_auroc(other)])


def test_a_comparison_survives_json(comparison: Comparison) -> None:
    """What is read is what was written, in the same order and to the last digit."""
    again = Comparison.model_validate_json(comparison.model_dump_json(indent=2))
    assert again == comparison
    assert list(again.strategies) == list(comparison.strategies)


def test_the_schema_describes_the_file(comparison: Comparison) -> None:
    """A standard validator accepts the JSON by the schema that is printed."""
    schema = json.loads(json.dumps(Comparison.model_json_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(comparison.model_dump_json()), schema)


@pytest.mark.parametrize("how", ["missing", "misspelt", "wrong type", "short interval"])
def test_the_schema_refuses_what_is_no_comparison(comparison: Comparison, how: str) -> None:
    """The schema is not one that lets everything through; reading refuses the same."""
    broken: Any = json.loads(comparison.model_dump_json())
    first = broken["strategies"][broken["champion"]]
    if how == "missing":
        del broken["verdict"]
    elif how == "misspelt":
        first["val"]["acuracy"] = 0.5
    elif how == "wrong type":
        first["rank"] = "first"
    else:
        first["val"]["intervals"]["auroc"] = [0.5]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, Comparison.model_json_schema())
    with pytest.raises(ValidationError):
        Comparison.model_validate(broken)
