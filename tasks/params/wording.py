"""The values that a JSON Schema allows, in words: ``integer from 1 to 10,000``."""

import json
from collections.abc import Callable
from typing import Any

from tasks.wording import enumerated

NAMES = {"string": "text", "boolean": "true or false", "null": "null", "object": "mapping"}
PLURALS = {"string": "texts", "integer": "integers", "number": "numbers", "object": "mappings"}


def allowed(node: dict[str, Any], name: Callable[[str], str] = str, code: Callable[[str], str] = str) -> str:
    """Return what a node of a JSON Schema allows.

    Args:
        node: of the schema.
        name: what a definition is called, by its name in the schema.
        code: how a value that is written as it stands is set off from the words around it.
    """
    return enumerated(_choices(node, name, code), "or")


def literal(value: Any) -> str:
    """Return a value as it stands in YAML; a text without quotes."""
    return value if value and isinstance(value, str) else json.dumps(value)


def _choices(node: dict[str, Any], name: Callable[[str], str], code: Callable[[str], str]) -> list[str]:
    if "$ref" in node:
        return [name(node["$ref"].rpartition("/")[2])]
    if "anyOf" in node:
        choices = [choice for kind in node["anyOf"] for choice in _choices(kind, name, code)]
        return list(dict.fromkeys(choices))
    if "enum" in node or "const" in node:
        return [code(literal(value)) for value in node.get("enum", [node.get("const")])]
    if node.get("type") == "array":
        return [_list(node, name, code)]
    if node.get("type") == "object":
        values = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
        return [f"mapping to {allowed(values, name, code)}" if isinstance(values, dict) else "mapping"]
    kind = str(node.get("type", "anything"))
    return [f"{NAMES.get(kind, kind)}{_limits(node, code)}"]


def _list(node: dict[str, Any], name: Callable[[str], str], code: Callable[[str], str]) -> str:
    entries = node.get("prefixItems", node.get("items", {}))
    number = f"{len(entries)} " if isinstance(entries, list) else ""
    entry = entries[0] if isinstance(entries, list) else entries  # those of a fixed number are of one kind
    if entry.get("type") in PLURALS and "additionalProperties" not in entry:
        return f"list of {number}{PLURALS[entry['type']]}{_limits(entry, code)}"
    return f"list of {number}{allowed(entry, name, code)}"


def _limits(node: dict[str, Any], code: Callable[[str], str]) -> str:
    least, most = node.get("minimum"), node.get("maximum")
    over, below = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    limits = ""
    if least is not None:
        limits = f" from {_number(least)}"
    if over is not None:
        limits = f" over {_number(over)}"
    if most is not None:
        limits += f" to {_number(most)}" if least is not None else f" up to {_number(most)}"
    if below is not None:
        limits += f" and below {_number(below)}" if limits else f" below {_number(below)}"
    if examples := node.get("examples"):
        limits += f" such as {enumerated((code(literal(value)) for value in examples), 'or')}"
    return limits


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"
