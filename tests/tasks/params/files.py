"""Small files of params, and what they are refused with."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tasks.errors import UserError
from tasks.params import load_params

SMALLEST: dict[str, Any] = {
    "data": {"source": "folder", "path": "photos"},
    "strategies": {"probe": {"train": "head"}},
}


def written(folder: Path, **sections: Any) -> Path:
    """Write a small valid params.yaml with some sections replaced."""
    target = folder / "params.yaml"
    YAML(typ="safe").dump(SMALLEST | sections, target)
    return target


def refusal(source: Path) -> str:
    """Return the sentence that a params file is refused with."""
    with pytest.raises(UserError) as caught:
        load_params(source)
    return str(caught.value)


def refused_text(folder: Path, text: str | bytes) -> str:
    """Return the sentence that a text is refused with as params.yaml."""
    target = folder / "params.yaml"
    target.write_bytes(text.encode() if isinstance(text, str) else text)
    return refusal(target)
