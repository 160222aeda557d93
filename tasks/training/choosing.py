"""How a network trains and answers fastest on this machine, as measured with it."""

import copy
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from tasks.engines.answering import answering
from tasks.engines.speeds import Measured, remembered, seconds_of
from tasks.engines.ways import WAYS, Precision, native_precisions
from tasks.params import TrainParams
from tasks.strategies.surgery import Adapted
from tasks.training import device
from tasks.training.batches import INFERENCE_BATCH
from tasks.training.depthwise import faster_gradients
from tasks.training.device import Hardware
from tasks.training.folding import folded

CPU = torch.device("cpu")
SECONDS = 0.1  # of processor time that the network itself may take for the images that it is measured with
OF_A_STEP = 4  # times the images: backward passes take longer


def hardware_for(adapted: Adapted, settings: TrainParams, size: int, channels: int) -> Hardware:
    """Return the device, and how a network trains and answers on it: on a processor in the ways that were fastest.

    What was measured with a network of the same name and images of the same size holds for all that strategies make
    of it.

    Args:
        adapted: the network, on the CPU; it is measured by a copy.
        settings: device and precision that are asked for.
        size, channels: of the images.
    """
    return hardware_before(adapted.architecture, lambda: adapted.model, settings, size, channels)


def hardware_before(
    name: str, make: Callable[[], nn.Module], settings: TrainParams, size: int, channels: int
) -> Hardware:
    """Return the same before there is a network, which is made if nothing was measured yet.

    Args:
        name: of the network, before a strategy changes it.
        make: returns it, on the CPU.
        settings, size, channels: as in ``hardware_for``.
    """
    if not device.is_measured(settings):
        return device.choose(settings)
    key: dict[str, str | int] = {"network": name, "size": size, "channels": channels}
    return device.choose(settings, remembered(key, lambda: measure(make(), size, channels)))


def measure(model: nn.Module, size: int, channels: int) -> Measured:
    """Return images a second of processor time: forward by way, and of steps that train the whole, by precision.

    Precisions that the processor does not have are left out.

    Args:
        model: the network, on the CPU; a copy of it is measured.
        size, channels: of the images.
    """
    device.keep_freed_memory()
    network = copy.deepcopy(model).to(memory_format=torch.channels_last)
    network.eval().requires_grad_(False)
    images = torch.randn(INFERENCE_BATCH, channels, size, size, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), folded(network):
        count = _affordable(network, images)
        some = images[:count]
        ways = [way for way in WAYS if way.precision in native_precisions()]
        answers = {str(way): partial(answering(network, way, CPU), some) for way in ways}
        forward = {way: count / seconds for way, seconds in seconds_of(answers).items()}
    network.requires_grad_(True)
    some = images[: max(1, count // OF_A_STEP)]
    trained = seconds_of({precision: partial(_step, network, some, precision) for precision in native_precisions()})
    return forward, {precision: len(some) / seconds for precision, seconds in trained.items()}


def _affordable(network: nn.Module, images: Tensor) -> int:
    """Return how many images the network itself answers in ``SECONDS``, at most a batch."""
    network(images[:1])
    started = time.process_time()
    network(images[:1])
    return min(len(images), max(1, int(SECONDS / (time.process_time() - started))))


def _step(network: nn.Module, images: Tensor, precision: Precision) -> None:
    hardware = Hardware(CPU, precision == "bfloat16")
    with ExitStack() as adjustments:
        adjustments.enter_context(folded(network))
        adjustments.enter_context(faster_gradients(network, hardware))
        network.zero_grad()
        with hardware.autocast():
            logits = network(images)
        logits.float().square().mean().backward()
