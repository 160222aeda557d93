"""The frozen trunk: a network's beginning up to the thaw line, which answers the same for an image in every epoch."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tasks.backbones.division import tensor_names
from tasks.engines.answering import Answer
from tasks.files import digest_of
from tasks.strategies import freezing
from tasks.strategies.surgery import Adapted
from tasks.strategies.thaw_line import Halves, divide
from tasks.training.activations import VERSION, Form
from tasks.training.batches import INFERENCE_BATCH
from tasks.training.device import Hardware

WORTH_KEEPING = 100.0  # operations for each byte that is read instead
TOLERANCE = 1e-3
IN_PLACE = re.compile(r"(, )?inplace=True")  # changes no answer, and differs between training and answering


@dataclass(frozen=True)
class FrozenTrunk:
    """The frozen beginning of a network, in the state that it keeps for some epochs.

    Attributes:
        adapted: the network.
        halves: cut at its thaw line.
        hardware: device, precision of what comes after it, and the way in which it answers.
        form: of what it answers for an image; the type is that of training, whatever computed it.
        side: of the images that it is given, in pixels.
        answer: its forward pass, by the engine that was chosen.
    """

    adapted: Adapted
    halves: Halves
    hardware: Hardware
    form: Form
    side: int
    answer: Answer

    @torch.no_grad()
    def compute(self, images: Tensor) -> Tensor:
        """Return what it answers for images, uint8 of shape (images, channels, size, size)."""
        return self.answer(self.adapted.normalisation(images.to(self.hardware.device))).to(self.form.dtype)

    def compute_filled_up(self, images: Tensor) -> Tensor:
        """Return the same for at most ``INFERENCE_BATCH`` images, whatever others are in the batch.

        How many there are decides between kernels that round differently: the batch is always filled up.
        """
        filled = torch.cat([images, images[-1:].expand(INFERENCE_BATCH - len(images), -1, -1, -1)])
        return self.compute(filled.contiguous(memory_format=torch.channels_last))[: len(images)]

    def digest(self) -> str:
        """Return a digest of all that its answer depends on, besides the images."""
        frozen = self.halves.frozen
        return digest_of(
            {
                "version": VERSION,
                "code": frozen.code,
                "layers": [IN_PLACE.sub("", repr(module)) for module in frozen.children()],
                "weights": freezing.digests(frozen, tensor_names(frozen)),
                "normalisation": repr(self.adapted.normalisation),
                "device": self.hardware.device.type,
                "engine": str(self.hardware.way),
                "form": [self.form.shape, str(self.form.dtype)],
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
            }
        )


def frozen_trunk(
    adapted: Adapted, trains: frozenset[str], size: int, channels: int, hardware: Hardware
) -> FrozenTrunk | None:
    """Return a network's frozen beginning, if what it answers is worth keeping.

    Args:
        adapted: the network on the training device, in the state in which it trains.
        trains: names of the parameters, buffers and modules that train.
        size, channels: of the images.
        hardware: device and precision.
    """
    modes = {name: module.training for name, module in adapted.model.named_modules()}
    images = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0)).to(hardware.device)
    images = images.contiguous(memory_format=torch.channels_last)
    halves = divide(adapted.model, adapted.parts, trains, images)
    for name, module in adapted.model.named_modules():
        module.training = modes[name]
    if halves is None:
        return None
    with torch.no_grad(), hardware.autocast(), FlopCounterMode(display=False) as counter:
        answer = halves.frozen(images)
    if not isinstance(answer, Tensor) or len(answer) != len(images):
        return None
    form = Form(tuple(answer.shape[1:]), answer.dtype)
    if counter.get_total_flops() / len(images) < WORTH_KEEPING * form.nbytes:
        return None
    if not _agree(adapted.model, halves, images, hardware):
        return None
    return FrozenTrunk(adapted, halves, hardware, form, size, hardware.answering(halves.frozen))


@torch.no_grad()
def _agree(model: nn.Module, halves: Halves, images: Tensor, hardware: Hardware) -> bool:
    """Return whether both halves together answer what the network answers, in the state in which it trains."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}

    def answer(network: nn.Module | None) -> Tensor:
        torch.manual_seed(0)
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        with hardware.autocast():
            logits = network(images) if network else halves.rest(halves.frozen(images))
        return logits.float() if isinstance(logits, Tensor) else torch.full((1,), torch.nan)

    undivided, divided = answer(model), answer(None)
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    return undivided.shape == divided.shape and torch.allclose(undivided, divided, TOLERANCE, TOLERANCE)
