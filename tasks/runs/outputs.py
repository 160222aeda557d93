"""What steps left behind, as others read it: without what it takes to make it."""

from dataclasses import dataclass

from tasks import layout
from tasks.comparison.facts import Facts
from tasks.comparison.schema import Comparison
from tasks.data.quality import Quality
from tasks.errors import UserError
from tasks.evaluation.probes import Pretence
from tasks.files import read_json


@dataclass(frozen=True)
class Probe:
    """What is known before training.

    Attributes:
        pretences: how much better a random split would make results look; nothing if no images are in groups.
        facts: what strategies are recommended by.
    """

    pretences: list[Pretence]
    facts: Facts


def read_quality() -> Quality:
    """Return what ``prepare`` counted."""
    return Quality.model_validate(read_json(layout.QUALITY))


def read_probe() -> Probe:
    """Return what ``probe`` found.

    Raises:
        UserError: it did not run yet.
    """
    if not layout.PROBE.is_file():
        raise UserError(f"{layout.PROBE} does not exist: run 'dvc repro' to make it")
    content = read_json(layout.PROBE)
    return Probe([Pretence(**pretence) for pretence in content["pretences"]], Facts.model_validate(content["facts"]))


def last_comparison() -> Comparison:
    """Return the comparison that was written last."""
    return Comparison.model_validate_json(layout.COMPARISON.read_text(encoding="utf-8"))
