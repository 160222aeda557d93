"""The networks that strategies make of the backbone, and what these answer."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tasks import layout
from tasks.arrays import Floats
from tasks.backbones import weights
from tasks.backbones.architecture import Architecture, State
from tasks.params import Params, StrategyParams
from tasks.runs.prepared import PreparedData
from tasks.strategies import assembly, planning, surgery
from tasks.strategies.freezing import FreezePlan, Group
from tasks.strategies.planning import Measured
from tasks.strategies.surgery import Adapted
from tasks.training import device, precision, resolution
from tasks.training.batches import Split
from tasks.training.choosing import hardware_before, hardware_for
from tasks.training.device import Hardware
from tasks.training.inference import predict
from tasks.training.tta import NO_TTA, Flips, tta_flips


class Network(NamedTuple):
    """A strategy's network before training, made for the data, and what of it trains when."""

    adapted: Adapted
    plan: FreezePlan


def network(settings: StrategyParams, data: PreparedData, measured: Measured | None = None) -> Network:
    """Return a strategy's network before training and its freeze plan.

    Raises:
        UserError: something that the strategy names is not in this network, its rates are relative to those of another
            kind of optimizer, or the network takes no images of such a size.
    """
    planning.check_relative_rates(settings, data.record.optimizer, data.record.lr)
    adapted, groups = network_in_groups(settings, data)
    plan = planning.plan(settings, groups, adapted.new, data.record.lr, measured)
    resolution.sides_of(adapted, settings, plan, data.size, data.channels)
    if settings.frozen_precision == "bfloat16":
        precision.lower(adapted.model, plan)
    return Network(adapted, plan)


def network_in_groups(settings: StrategyParams, data: PreparedData) -> tuple[Adapted, tuple[Group, ...]]:
    """Return a strategy's network before training, and the groups that freeze and thaw together."""
    return assembly.assemble(*_start(settings, data))


def with_weights(settings: StrategyParams, data: PreparedData, file: Path) -> Adapted:
    """Return a strategy's network with the weights of a file."""
    adapted = surgery.adapt(*_start(settings, data))
    weights.fill(adapted.model, weights.load(file))
    return adapted


def hardware_of(settings: StrategyParams, data: PreparedData) -> Hardware:
    """Return the device, and how the backbone trains and answers on it."""
    name, make = data.record.name, lambda: surgery.adapt(*_start(settings, data)).model
    return hardware_before(name, make, settings, data.size, data.channels)


def _start(
    settings: StrategyParams, data: PreparedData
) -> tuple[Architecture, State | None, int, int, int, StrategyParams]:
    """Return what a strategy's network is made of."""
    record = data.record
    architecture = replace(record.architecture(), mean=record.mean, std=record.std)
    state = weights.load(layout.weights(data.network)) if settings.start == "pretrained" else None
    return architecture, state, data.size, len(data.classes), data.channels, settings


def flips_for(settings: StrategyParams, params: Params) -> Flips:
    """Return the views of an image whose mean a strategy answers."""
    return tta_flips(tta=settings.tta, upright=params.data.is_upright)


def probabilities_of(adapted: Adapted, split: Split, settings: StrategyParams, flips: Flips = NO_TTA) -> Floats:
    """Return the probabilities of a split, shape (images, classes)."""
    device.keep_freed_memory()
    _, size, _, channels = split.store.shape
    logits = predict(adapted, split, hardware_for(adapted, settings, size, channels), flips)
    return logits.double().softmax(1).numpy()
