"""What a JSON Schema allows, in words."""

from typing import Any

import pytest

from tasks.params.wording import allowed


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"type": "string"}, "text"),
        ({"type": "boolean"}, "true or false"),
        ({"type": "integer", "minimum": 1, "maximum": 10_000}, "integer from 1 to 10,000"),
        ({"type": "number", "exclusiveMinimum": 0.5, "maximum": 1}, "number over 0.5 up to 1"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "number from 0 and below 1"),
        ({"enum": ["auto", 1, 2]}, "`auto`, `1` or `2`"),
        ({"const": False}, "`false`"),
        ({"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}, "`a`, `b` or null"),
        ({"type": "string", "examples": ["10m"]}, "text such as `10m`"),
        ({"type": "array", "items": {"type": "number", "minimum": 0}}, "list of numbers from 0"),
        ({"type": "array", "items": [{"type": "integer"}, {"type": "integer"}]}, "list of 2 integers"),
        ({"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}]}, "list of 2 numbers"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "mapping to integer"),
        ({"type": "object", "additionalProperties": True}, "mapping"),
        ({"type": "array", "items": {"$ref": "#/$defs/Part"}}, "list of *Part*"),
        ({}, "anything"),
    ],
)
def test_values_in_words(node: dict[str, Any], words: str) -> None:
    """Kinds, limits, choices, lists and mappings."""
    assert allowed(node, name=lambda record: f"*{record}*", code=lambda text: f"`{text}`") == words
