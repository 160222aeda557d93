"""What Prefect's loggers print: as Prefect has it, but for the pool of its temporary server."""

import subprocess
import sys

import prefect.logging.configuration
from ruamel.yaml import YAML

from tests.support.paths import ROOT

LOGS = """
import logging, flows.compare
logging.getLogger("sqlalchemy.pool.impl.AsyncAdaptedQueuePool").error("Exception during reset or similar")
logging.getLogger("sqlalchemy.engine").error("no such table")
"""


def test_every_logger_of_prefect_is_there() -> None:
    """A release of Prefect that logs in other places is noticed."""
    ours, prefects = (
        YAML(typ="safe").load(path)["loggers"]
        for path in (ROOT / "flows/logging.yml", prefect.logging.configuration.DEFAULT_LOGGING_SETTINGS_PATH)
    )
    assert {name: ours[name].get("level") for name in prefects} == {
        name: logger.get("level") for name, logger in prefects.items()
    }


def test_a_stopped_server_prints_no_traceback() -> None:
    """Cancelled statements of a server that stops are not shown; other errors are."""
    done = subprocess.run([sys.executable, "-c", LOGS], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Exception during reset" not in done.stderr
    assert "no such table" in done.stderr
