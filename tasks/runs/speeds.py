"""How fast a network trains and answers on this machine, measured in some seconds before anything else is done."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from tasks.params import StrategyParams
from tasks.runs.estimates import Speeds
from tasks.runs.networks import Network, network
from tasks.runs.prepared import PreparedData
from tasks.strategies import freezing
from tasks.strategies.surgery import Adapted
from tasks.training import device
from tasks.training.batches import INFERENCE_BATCH, Split, weights_of
from tasks.training.depthwise import faster_gradients
from tasks.training.device import Hardware
from tasks.training.folding import folded
from tasks.training.gradients import Gradients
from tasks.training.inference import predict, to_device
from tasks.training.optim import build

FIRST_IMAGES = 2  # of a step that is not counted, as it sets things up
LEAST_SECONDS = 1.0  # of training steps
MOST_SECONDS = 5.0  # of one step: where it would take longer, the first small one counts


def measured_speeds(data: PreparedData, settings: StrategyParams) -> Speeds:
    """Measure a network, made for the data and thrown away afterwards, on some training images.

    Random draws of this process go on as if nothing had been measured.

    Args:
        data: the prepared images and the backbone.
        settings: device, precision, size of the batches, and ``train: all``.

    Raises:
        UserError: the network can't be made for these images.
    """
    hardware, train = device.choose(settings), data.split("train")
    device.keep_freed_memory()
    with torch.random.fork_rng():
        made = network(settings, data)
        some = _some(train, INFERENCE_BATCH)
        forward = _seconds_of(lambda: predict(made.adapted, some, hardware)) / len(some)
        shares = _shares(made.adapted, some, hardware)
        step = _step(made, settings, train, hardware)
    return Speeds(step, forward, shares, made.adapted.new)


def _seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds that something takes which was done once before."""
    work()
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _step(made: Network, settings: StrategyParams, train: Split, hardware: Hardware) -> float:
    """Return the seconds an image of a training step."""
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
        first, batch, taken = _some(train, FIRST_IMAGES), _some(train, settings.batch_size), list[float]()
        seconds = step(first) / len(first)
        if seconds * len(batch) > MOST_SECONDS:
            return seconds
        while sum(taken) < LEAST_SECONDS:
            taken.append(step(batch))
    return sum(taken) / len(taken) / len(batch)


def _some(split: Split, count: int) -> Split:
    """Return the first images of a split."""
    first = np.arange(min(count, len(split)))
    return Split(split.store, split.rows[first], split.targets[first], weights_of(split.weights, first))


def _shares(adapted: Adapted, split: Split, hardware: Hardware) -> dict[str, float]:
    """Return each part's share of the time of a forward pass, in the network's order."""
    model = adapted.model.to(hardware.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    images = to_device(adapted, split.images(np.arange(len(split))), hardware)
    with folded(model), torch.inference_mode(), hardware.autocast(), _timing_parts(adapted) as seconds:
        model(images)
    total = sum(seconds.values())
    return {part: spent / total if total else 1 / len(seconds) for part, spent in seconds.items()}


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
