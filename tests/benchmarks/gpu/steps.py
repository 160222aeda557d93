"""The bare step of PyTorch on a device, in the ways that may make it faster, and what frozen layers save."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Figures = dict[str, Any]
Step = Callable[[], Any]
MIB = 2**20
CLASSES = 7


@dataclass(frozen=True)
class Setting:
    """What is measured on, and how much.

    Attributes:
        device: cuda or cpu.
        network: torchvision's name.
        side: height and width in pixels.
        batch: images a step.
        steps: that are timed, after some that aren't.
        images: in the store of the project's own loop.
        compiled: whether ``torch.compile`` is tried, which takes a minute.
    """

    device: str
    network: str = "mobilenet_v2"
    side: int = 224
    batch: int = 64
    steps: int = 60
    images: int = 4096
    compiled: bool = True

    @classmethod
    def tiny(cls, device: str) -> "Setting":
        """Return one that takes seconds on a processor."""
        return cls(device, "shufflenet_v2_x0_5", 32, 4, 2, 16, compiled=False)

    def model(self) -> nn.Module:
        """Return the network with random weights on the device."""
        torch.manual_seed(0)
        model: nn.Module = getattr(torchvision.models, self.network)(num_classes=CLASSES)
        return model.to(self.device).train()

    def batch_of_images(self) -> tuple[Tensor, Tensor]:
        """Return normalised images and their classes, in the host's memory."""
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(self.batch, 3, self.side, self.side, generator=generator)
        return images, torch.randint(CLASSES, (self.batch,), generator=generator)


def ways(setting: Setting) -> Iterator[Figures]:
    """Yield images a second and peak memory of each way, as soon as it is known; a way that fails says so."""
    plain: dict[str, Callable[[Setting], Step]] = {
        "float32": partial(step, bfloat16=False, last=False),
        "bfloat16": partial(step, bfloat16=True, last=False),
        "bfloat16_channels_last": partial(step, bfloat16=True, last=True),
        "copied_each_step": partial(step, bfloat16=True, last=True, copied="plain"),
        "copied_pinned": partial(step, bfloat16=True, last=True, copied="pinned"),
        "cuda_graph": graph,
    }
    if setting.compiled:
        plain["compiled"] = partial(step, bfloat16=True, last=True, compiled=True)
    for name, make in plain.items():
        yield named(name, setting, make)


def named(name: str, setting: Setting, make: Callable[[Setting], Step]) -> Figures:
    """Return images a second and peak memory in MiB of one way, or why there are none."""
    try:
        if setting.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        seconds = seconds_a_call(make(setting), setting)
    except Exception as error:  # what a way needs may be missing here, which is a finding
        return {f"{name}_failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
    found: Figures = {f"{name}_images_a_second": setting.batch / seconds}
    if setting.device == "cuda":
        found[f"{name}_peak_mib"] = torch.cuda.max_memory_allocated() / MIB
    return found


def step(setting: Setting, *, bfloat16: bool, last: bool, copied: str = "", compiled: bool = False) -> Step:
    """Return a training step of AdamW, as PyTorch's documentation writes it.

    Args:
        setting: network and batch.
        bfloat16: autocast.
        last: whether channels come last in memory.
        copied: whether each step brings its images from the host, from memory that is ``plain`` or ``pinned``.
        compiled: whether ``torch.compile`` made the network's kernels.
    """
    model, (images, targets) = setting.model(), setting.batch_of_images()
    layout = torch.channels_last if last else torch.contiguous_format
    model, images = model.to(memory_format=layout), images.to(memory_format=layout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    if copied == "pinned" and setting.device == "cuda":
        images, targets = images.pin_memory(), targets.pin_memory()
    if not copied:
        images, targets = images.to(setting.device), targets.to(setting.device)
    called: Any = torch.compile(model) if compiled else model

    def take() -> None:
        bring = partial(Tensor.to, device=setting.device, non_blocking=copied == "pinned")
        inputs, truth = (bring(images), bring(targets)) if copied else (images, targets)
        with torch.autocast(setting.device, torch.bfloat16, enabled=bfloat16):
            loss = cross_entropy(called(inputs), truth)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return take


def graph(setting: Setting) -> Step:
    """Return a whole training step as one CUDA graph (https://docs.pytorch.org/docs/stable/notes/cuda.html)."""
    if setting.device != "cuda":
        raise RuntimeError("graphs need CUDA")
    model = setting.model().to(memory_format=torch.channels_last)
    images, targets = (tensor.to(setting.device) for tensor in setting.batch_of_images())
    images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, capturable=True)

    def take() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            loss = cross_entropy(model(images), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            take()
    torch.cuda.current_stream().wait_stream(beside)
    captured = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(captured):
        take()
    return captured.replay


def stores(setting: Setting) -> Iterator[Figures]:
    """Yield images a second of training the last layers on what frozen ones answer: anew, from the host, on the device.

    The first two thirds of the network's blocks are frozen.
    """
    for place in ("anew", "host", "device"):
        yield named(f"frozen_{place}", setting, partial(kept, place=place))


def kept(setting: Setting, *, place: str) -> Step:
    """Return a step of the last layers, with what the first ones answer computed anew or kept somewhere."""
    model, (images, targets) = setting.model(), setting.batch_of_images()
    blocks = [child for part in model.children() for child in (part if isinstance(part, nn.Sequential) else [part])]
    cut = 2 * len(blocks) // 3
    trunk, rest = nn.Sequential(*blocks[:cut]).eval().requires_grad_(requires_grad=False), nn.Sequential(*blocks[cut:])
    head = nn.Linear(_width(trunk, rest, images[:2].to(setting.device)), CLASSES).to(setting.device)
    optimizer = torch.optim.AdamW([*(p for p in rest.parameters()), *head.parameters()], lr=1e-4)
    images, targets = images.to(setting.device), targets.to(setting.device)
    with torch.no_grad(), torch.autocast(setting.device, torch.bfloat16):
        answers = trunk(images).to(torch.bfloat16)
    if place == "host":
        answers = answers.cpu().pin_memory() if setting.device == "cuda" else answers.cpu()

    def take() -> None:
        with torch.autocast(setting.device, torch.bfloat16):
            if place == "anew":
                with torch.no_grad():
                    inputs = trunk(images)
            else:
                inputs = answers.to(setting.device, non_blocking=True)
            loss = cross_entropy(head(_pooled(rest, inputs)), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return take


def _pooled(rest: nn.Sequential, inputs: Tensor) -> Tensor:
    """Return one vector an image: the last maps' means, without the network's own classifier."""
    for layer in rest:
        if isinstance(layer, nn.Linear | nn.Dropout):
            break
        inputs = layer(inputs)
    return inputs.mean((2, 3)) if inputs.dim() == 4 else inputs


def _width(trunk: nn.Sequential, rest: nn.Sequential, images: Tensor) -> int:
    with torch.no_grad():
        return int(_pooled(rest, trunk(images)).shape[1])


def seconds_a_call(take: Step, setting: Setting) -> float:
    """Return the mean seconds of a step, the device's work waited for; a fifth as many before aren't timed."""
    for _ in range(max(1, setting.steps // 5)):
        take()
    _wait(setting.device)
    started = time.monotonic()
    for _ in range(setting.steps):
        take()
    _wait(setting.device)
    return (time.monotonic() - started) / setting.steps


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
