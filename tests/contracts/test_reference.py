"""What docs/reference says is what the code says, and what editors accept is what the pipeline accepts."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from docs.reference.generated import COMMAND, files
from tasks.params import Params, load_params
from tests.support.paths import ROOT

REFERENCE = ROOT / "docs" / "reference"
SCHEMA_LINE = "# yaml-language-server: $schema="
BLOCK = re.compile(r"^```ya?ml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    """Return what the code says, by the names of the files."""
    return files()


def test_pages_are_what_the_code_says(generated: dict[str, str]) -> None:
    """After a key, a command or a field was changed, the pages are renewed with it."""
    kept = {
        path.name: path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.*") if path.suffix in {".md", ".json"}
    }
    stale = sorted(name for name in {*kept, *generated} if kept.get(name) != generated.get(name))
    assert not stale, f"{', '.join(stale)} in docs/reference is not what the code says: run '{COMMAND}'"


def test_every_row_says_what_it_means(generated: dict[str, str]) -> None:
    """No cell of a table is empty: a field, a key or an argument without a word has none beside it in the code."""
    pages = {name: text for name, text in generated.items() if name.endswith(".md")}
    rows = [f"{name}: {line}" for name, text in pages.items() for line in text.splitlines() if line.startswith("|")]
    assert rows
    assert [row for row in rows if re.search(r"\|\s*\|", row)] == []


def schema() -> dict[str, Any]:
    """Return the schema that the first line of params.yaml names."""
    first = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(SCHEMA_LINE)
    content: dict[str, Any] = json.loads((ROOT / first.removeprefix(SCHEMA_LINE)).read_text(encoding="utf-8"))
    return content


def as_json(content: Any) -> Any:
    """Return what an editor checks of a YAML file: keys are texts."""
    return json.loads(json.dumps(content))


def examples() -> Iterator[Any]:
    """Yield the examples in the pages that are parts of a params.yaml, each by its page and its place there."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for place, text in enumerate(BLOCK.findall(page.read_text(encoding="utf-8"))):
            try:
                content = YAML(typ="safe").load(text)
            except YAMLError:
                continue
            if isinstance(content, dict) and set(content) <= set(Params.model_fields):
                yield pytest.param(content, id=f"{page.stem}-{place}")


def test_shipped_params_are_accepted() -> None:
    """An editor finds nothing to mark in params.yaml."""
    jsonschema.validate(as_json(YAML(typ="safe").load(ROOT / "params.yaml")), schema())


@pytest.mark.parametrize("content", examples())
def test_examples_are_accepted(content: dict[str, Any], tmp_path: Path) -> None:
    """What the pages show can be written into params.yaml: the pipeline takes it, and an editor marks nothing."""
    shipped = YAML(typ="safe").load(ROOT / "params.yaml")
    for section, keys in content.items():
        shipped[section] = keys if section == "data" else {**shipped.get(section, {}), **keys}
    source = tmp_path / "params.yaml"
    YAML(typ="safe").dump(shipped, source)
    load_params(source)
    jsonschema.validate(as_json(shipped), schema())
