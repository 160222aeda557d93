"""The page of ``comparison.json``: a table a kind of record."""

from collections.abc import Iterator
from typing import Any

from docs.reference.markdown import code, join, link, table
from tasks.comparison.schema import VERSION, Comparison
from tasks.params.wording import allowed

INTRODUCTION = f"""\
`data/reports/comparison.json` is for programs: everything that a comparison found, in the form that `schema_version`
{VERSION} has. [comparison.schema.json](comparison.schema.json) is its JSON Schema; `python -m tasks schema` prints it.

```python
import json

with open("data/reports/comparison.json", encoding="utf-8") as file:
    comparison = json.load(file)
for name, strategy in comparison["strategies"].items():
    print(strategy["rank"], name, strategy["val"][comparison["metric"]])
```"""


def page() -> str:
    """Return the page."""
    schema = Comparison.model_json_schema()
    records = {Comparison.__name__: schema, **schema["$defs"]}
    reached = dict.fromkeys(_reached(Comparison.__name__, records))
    sections = [part for name in reached if "properties" in records[name] for part in _section(name, records)]
    return join(["# comparison.json", INTRODUCTION, *sections])


def _reached(name: str, records: dict[str, Any]) -> Iterator[str]:
    """Yield a record and those that its fields hold, in the order in which they are first named."""
    yield name
    for field in records[name].get("properties", {}).values():
        for inner in _named(field):
            yield from _reached(inner, records)


def _named(node: Any) -> Iterator[str]:
    """Yield the records that a node of the schema refers to."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rpartition("/")[2]
        for inner in node.values():
            yield from _named(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _named(inner)


def _section(name: str, records: dict[str, Any]) -> Iterator[str]:
    yield f"## {name}"
    yield _prose(records[name])

    def called(record: str) -> str:
        return link(record) if "properties" in records[record] else allowed(records[record], code=code)

    rows = [
        (code(field), allowed(node, called, code), _prose(node) or _prose_of_record(node, records))
        for field, node in records[name]["properties"].items()
    ]
    yield table(("field", "values", "meaning"), rows)


def _prose_of_record(node: dict[str, Any], records: dict[str, Any]) -> str:
    return _prose(records[node["$ref"].rpartition("/")[2]]) if "$ref" in node else ""


def _prose(node: dict[str, Any]) -> str:
    return " ".join(node.get("description", "").split()).replace("``", "`")
