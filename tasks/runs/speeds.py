"""How fast a network trains and answers on this machine, measured in some seconds before anything else is done."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from tasks.params import StrategyParams
from tasks.runs.estimates import Speeds, Statistics
from tasks.runs.networks import Network, network
from tasks.runs.prepared import PreparedData
from tasks.strategies import freezing
from tasks.strategies.surgery import Adapted
from tasks.training import device
from tasks.training.batches import INFERENCE_BATCH, Split, weights_of
from tasks.training.choosing import hardware_for
from tasks.training.depthwise import faster_gradients
from tasks.training.device import Hardware
from tasks.training.folding import folded
from tasks.training.gradients import Gradients
from tasks.training.inference import predict, to_device
from tasks.training.optim import build

FIRST_IMAGES = 2  # of a step that is not counted, as it sets things up
LEAST_SECONDS = 1.0  # of training steps
MOST_SECONDS = 5.0  # of one step: where it would take longer, the first small one counts


def measured_speeds(data: PreparedData, settings: StrategyParams, statistics: Collection[Statistics]) -> Speeds:
    """Measure a network, made for the data and thrown away afterwards, on some training images.

    Random draws of this process go on as if nothing had been measured.

    Args:
        data: the prepared images and the backbone.
        settings: device, precision, size of the batches, and ``train: all``.
        statistics: what BatchNorm layers may do in a training (``batchnorm``), each of which is measured.

    Raises:
        UserError: the network can't be made for these images.
    """
    train = data.split("train")
    device.keep_freed_memory()
    with torch.random.fork_rng():
        made = network(settings, data)
        hardware = hardware_for(made.adapted, settings, data.size, data.channels)
        some = _some(train, INFERENCE_BATCH)
        predict(made.adapted, some, hardware)
        started = time.monotonic()
        predict(made.adapted, some, hardware)
        forward = (time.monotonic() - started) / len(some)
        steps: dict[Statistics, float] = {}
        for kind in statistics:
            steps[kind], shares = _step(made, settings.model_copy(update={"batchnorm": kind}), train, hardware)
    return Speeds(steps, forward, shares, made.adapted.new)


def _step(made: Network, settings: StrategyParams, train: Split, hardware: Hardware) -> tuple[float, dict[str, float]]:
    """Return the seconds an image of a training step, and each part's share of its forward pass."""
    adapted, plan = made
    model = adapted.model.to(hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    freezing.apply(plan, model, 0, update_statistics=settings.updates_statistics)
    optimizer, gradients = build(model, plan, settings), Gradients(adapted, settings, hardware, train)

    def step(some: Split) -> float:
        started = time.monotonic()
        inputs = to_device(adapted, some.images(np.arange(len(some))), hardware)
        gradients(model, inputs, some.targets, some.weights)
        optimizer.step()
        optimizer.zero_grad()
        return time.monotonic() - started

    with folded(model), faster_gradients(model, hardware):
        with _timing_parts(adapted) as seconds:
            first = _some(train, FIRST_IMAGES)
            an_image = step(first) / len(first)
        batch = _some(train, settings.batch_size)
        if an_image * len(batch) < MOST_SECONDS:
            taken = list[float]()
            with _timing_parts(adapted) as seconds:
                while sum(taken) < LEAST_SECONDS:
                    taken.append(step(batch))
            an_image = sum(taken) / len(taken) / len(batch)
    total = sum(seconds.values())
    return an_image, {part: spent / total if total else 1 / len(seconds) for part, spent in seconds.items()}


def _some(split: Split, count: int) -> Split:
    """Return the first images of a split."""
    first = np.arange(min(count, len(split)))
    return Split(split.store, split.rows[first], split.targets[first], weights_of(split.weights, first))


@contextmanager
def _timing_parts(adapted: Adapted) -> Iterator[dict[str, float]]:
    """Yield the seconds that each part of a network runs while the block does, in the network's order."""
    seconds = dict.fromkeys((part.name for part in adapted.parts), 0.0)
    modules = {
        name: next((part.name for part in adapted.parts if name in part.prefixes), None)
        for name, _ in adapted.model.named_modules()
    }
    handles = []
    for name, part in modules.items():
        if part is not None:
            module = adapted.model.get_submodule(name)
            handles.append(module.register_forward_pre_hook(partial(_add, seconds, part, -1)))
            handles.append(module.register_forward_hook(partial(_add, seconds, part, 1)))
    try:
        yield seconds
    finally:
        for handle in handles:
            handle.remove()


def _add(seconds: dict[str, float], part: str, sign: int, *_: object) -> None:
    """Add the time of a module's end, or take that of its beginning away."""
    seconds[part] += sign * time.monotonic()
