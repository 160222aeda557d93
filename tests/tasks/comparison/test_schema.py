"""``comparison.json`` can be read back, and its JSON Schema knows it."""

import json
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from tasks.comparison.schema import Comparison
from tests.tasks.comparison.conftest import MakeEntrant, comparison_of, ranked_of


@pytest.fixture
def found(entrant: MakeEntrant) -> Comparison:
    """A comparison with a metric that is undefined."""
    ranked = ranked_of([entrant("a", 2.0), entrant("b", 1.0)])
    ranked[1].test.auroc, ranked[1].test.intervals["auroc"] = None, None
    return comparison_of(ranked)


def test_a_comparison_survives_json(found: Comparison) -> None:
    """What is read is what was written, in the same order and to the last digit."""
    again = Comparison.model_validate_json(found.model_dump_json(indent=2))
    assert again == found
    assert list(again.strategies) == list(found.strategies)


def test_the_schema_describes_the_file(found: Comparison) -> None:
    """A standard validator accepts the JSON by the schema that is printed."""
    schema = json.loads(json.dumps(Comparison.model_json_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(found.model_dump_json()), schema)


@pytest.mark.parametrize("how", ["missing", "misspelt", "wrong type", "short interval"])
def test_the_schema_refuses_what_is_no_comparison(found: Comparison, how: str) -> None:
    """The schema is not one that lets everything through; reading refuses the same."""
    broken: Any = json.loads(found.model_dump_json())
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
