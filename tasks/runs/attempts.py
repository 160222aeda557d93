"""What a strategy's fine-tuning is made of, and where its intermediate files lie."""

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tasks import layout
from tasks.data.store import index_of
from tasks.files import digest_of, digest_of_tree, read_json, sha256_of, write_json
from tasks.params import Params, StrategyParams, load_params
from tasks.runs.launch import Assignment, with_processes
from tasks.runs.prepared import PreparedData, network
from tasks.runs.repeats import FIRST, Repeat
from tasks.runs.trained_network import assist_training, measurement_for
from tasks.strategies import freezing
from tasks.strategies.freezing import FreezePlan
from tasks.training.distributed import ProcessGroup
from tasks.training.measuring import Measurement
from tasks.training.progress import Reporter

MEASURED, CHECKPOINT = "measured.json", "checkpoint.safetensors"
DIGITS = 12  # of an identity, in the name of an attempt's folder


@dataclass(frozen=True)
class Planned:
    """A fine-tuning before it starts.

    Attributes:
        settings: the strategy's, with the repeat's seed.
        data: with the repeat's fold as the validation split, and its share of the training split.
        identity: digest of everything that the result depends on.
        work: the folder of its intermediate files; named after the identity.
        measurement: what the plan needed.
        frozen: digests of what the plan freezes, by name.
    """

    strategy: str
    repeat: Repeat
    params: Params
    settings: StrategyParams
    data: PreparedData
    identity: str
    work: Path
    measurement: Measurement
    plan: FreezePlan
    frozen: dict[str, str]

    @property
    def reporter(self) -> Reporter:
        """What shows its progress."""
        return Reporter(self.repeat.of(self.strategy))

    @property
    def earliest(self) -> int:
        """After how many epochs it may be stopped at the earliest: the first of its last phase."""
        return self.plan.first_epoch_of_last_phase + 1

    def record(self) -> dict[str, Any]:
        """Return the plan as later steps read it."""
        return {
            "strategy": self.strategy,
            "identity": self.identity,
            "parts": _parts_of(self.plan),
            "phases": [phase.epochs for phase in self.plan.phases],
            "parameters": sum(group.size for group in self.plan.groups),
            "trainable_parameters": self.plan.trainable(),
            "frozen": self.frozen,
        }


def plan_attempt(strategy: str, repeat: Repeat = FIRST) -> Planned:
    """Make the network fit the data, measure what the plan needs, and plan what freezes."""
    params, settings, data = read_for(strategy, repeat)
    identity = _identity(settings, params, data, repeat)
    work = layout.WORK / f"{strategy}-{identity[:DIGITS]}"
    measured = work / MEASURED
    measurement = (
        Measurement.read(measured)
        if measured.is_file()
        else measurement_for(settings, params, data, Reporter(repeat.of(strategy)))
    )
    adapted, plan = network(settings, data, measurement.measured)
    write_json(measured, asdict(measurement))
    frozen = freezing.digests(adapted.model, plan.never_moved(update_statistics=settings.updates_statistics))
    return Planned(strategy, repeat, params, settings, data, identity, work, measurement, plan, frozen)


def read_for(strategy: str, repeat: Repeat) -> tuple[Params, StrategyParams, PreparedData]:
    """Return all params, the strategy's with the repeat's seed, and the data with its fold and its share."""
    params = load_params(layout.PARAMS)
    settings = with_processes(repeat.settings(params.strategy(strategy)))
    return params, settings, PreparedData.read().on_fold(repeat.fold).thinned(repeat.share, params.split.seed)


def assist(assignment: Assignment, team: ProcessGroup) -> None:
    """Take part in a fine-tuning of another process."""
    params, settings, data = read_for(assignment.strategy, assignment.repeat)
    measurement = Measurement.read(assignment.work / MEASURED)
    checkpoint = assignment.work / CHECKPOINT
    assist_training(settings, params, data, measurement, checkpoint, assignment.until, team)


def epochs_allowed(strategy: str) -> int | None:
    """Return after how many epochs the race stopped a strategy, or None if it may run to its end."""
    allowed: int | None = (
        read_json(layout.race_file(strategy))["epochs"] if layout.race_file(strategy).is_file() else None
    )
    return allowed


def _identity(settings: StrategyParams, params: Params, data: PreparedData, repeat: Repeat) -> str:
    """Return a digest of everything that a strategy's result depends on."""
    return digest_of(
        {
            "settings": settings.model_dump(),
            "augment": params.augment.model_dump(),
            "upright": params.data.is_upright,
            "share": repeat.share,
            "fold": repeat.fold,
            "manifest": sha256_of(layout.MANIFEST),
            "pixels": sha256_of(index_of(layout.PIXELS)),
            "weights": sha256_of(layout.WEIGHTS),
            "architecture": [data.record.name, data.record.parts, data.record.code_sha256],
            "code": digest_of_tree(Path(__file__).parents[1], "*.py"),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "machine": platform.machine(),
        }
    )


def _parts_of(plan: FreezePlan) -> list[dict[str, Any]]:
    return [
        {
            "name": group.name,
            "parameters": group.size,
            "thaws_at": plan.thaws_at(group.name),
            "rates": [
                0.0 if phase.solved and group.name in phase.rates else phase.rates.get(group.name)
                for phase in plan.phases
            ],
        }
        for group in plan.groups
    ]
