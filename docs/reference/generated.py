"""What this folder holds, made from the code."""

import json
from typing import Any

from docs.reference import commands_page, comparison_page, params_page
from tasks.comparison.schema import Comparison
from tasks.params.schema import schema_of_params

COMMAND = "python -m docs.reference"
NOTICE = f"<!-- Made from the code by '{COMMAND}': change what the code says, and run it again. -->\n\n"


def files() -> dict[str, str]:
    """Return the content of every generated file by its name."""
    return {
        "params.md": NOTICE + params_page.page(),
        "params.schema.json": _json(schema_of_params()),
        "commands.md": NOTICE + commands_page.page(),
        "comparison.md": NOTICE + comparison_page.page(),
        "comparison.schema.json": _json(Comparison.model_json_schema()),
    }


def _json(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
