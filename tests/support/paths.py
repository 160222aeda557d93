"""Where the repository is, and what its files hold."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]


def read_yaml(name: str) -> Any:
    """Return a YAML file of the repository's root."""
    return YAML(typ="safe").load(ROOT / name)
