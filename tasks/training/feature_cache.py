"""The way around frozen layers: where a network's beginning is frozen, epochs start at its thaw line."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from tasks import stopping
from tasks.files import digest_of
from tasks.params import Sampling
from tasks.strategies import freezing
from tasks.strategies.surgery import Adapted
from tasks.strategies.thaw_line import Halves, divide
from tasks.training.activations import VERSION, Cache, DamagedError, Form, NoSpaceError, Store
from tasks.training.batches import INFERENCE_BATCH, Batch, Own, Rows, Split, inference_rows
from tasks.training.device import Hardware
from tasks.training.progress import Reporter
from tasks.training.views import PLAIN, Views, batches_of_views, in_order

WORTH_KEEPING = 100.0  # operations for each byte that is read instead
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Frozen:
    """The frozen beginning of a network, in the state that it keeps for some epochs.

    Attributes:
        adapted: the network.
        halves: cut at its thaw line.
        hardware: device and precision.
        form: of what it answers for an image.
    """

    adapted: Adapted
    halves: Halves
    hardware: Hardware
    form: Form

    @torch.no_grad()
    def compute(self, images: Tensor) -> Tensor:
        """Return what it answers for images, uint8 of shape (images, channels, size, size)."""
        with self.hardware.autocast():
            answer: Tensor = self.halves.frozen(self.adapted.normalisation(images.to(self.hardware.device)))
        return answer

    def compute_filled_up(self, images: Tensor) -> Tensor:
        """Return the same for at most ``INFERENCE_BATCH`` images, whatever others are in the batch.

        How many there are decides between kernels that round differently: the batch is always filled up.
        """
        filled = torch.cat([images, images[-1:].expand(INFERENCE_BATCH - len(images), -1, -1, -1)])
        return self.compute(filled.contiguous(memory_format=torch.channels_last))[: len(images)]

    def digest(self) -> str:
        """Return a digest of all that its answer depends on, besides the images."""
        frozen = self.halves.frozen
        names = [*dict(frozen.named_parameters()), *dict(frozen.named_buffers())]
        return digest_of(
            {
                "version": VERSION,
                "code": frozen.code,
                "layers": [repr(module) for module in frozen.children()],
                "weights": freezing.digests(frozen, names),
                "normalisation": repr(self.adapted.normalisation),
                "device": self.hardware.device.type,
                "bfloat16": self.hardware.bfloat16,
                "form": [self.form.shape, str(self.form.dtype)],
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
            }
        )


def find(adapted: Adapted, trains: frozenset[str], size: int, channels: int, hardware: Hardware) -> Frozen | None:
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
    return Frozen(adapted, halves, hardware, form) if _agree(adapted.model, halves, images, hardware) else None


@torch.no_grad()
def _agree(model: nn.Module, halves: Halves, images: Tensor, hardware: Hardware) -> bool:
    """Return whether both halves together answer what the network answers, in the state in which it trains."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}

    def answer(network: nn.Module | None) -> Tensor:
        torch.manual_seed(0)
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        with hardware.autocast():
            found = network(images) if network else halves.rest(halves.frozen(images))
        return found.float() if isinstance(found, Tensor) else torch.full((1,), torch.nan)

    whole, halved = answer(model), answer(None)
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    return whole.shape == halved.shape and torch.allclose(whole, halved, TOLERANCE, TOLERANCE)


class Shortcut:
    """What trains in some epochs, and the activations that it is given in place of images."""

    def __init__(
        self,
        frozen: Frozen,
        train: Views,
        val: Split,
        cache: Cache | None,
        reporter: Reporter,
        seed: int = 0,
        epochs: Iterable[int] = (0,),
    ) -> None:
        """Fill the stores with all that some epochs will ask for; without space, it is computed whenever it is."""
        self._frozen, self._train = frozen, train
        self._shown = [train.of_epoch(seed, epoch) for epoch in itertools.islice(epochs, max(1, train.count))]
        self._val = Views(val, train.augment, 0)
        self._stores: dict[int, Store] = {}
        if cache:
            try:
                self._fill(cache, reporter)
            except NoSpaceError as error:
                self._stores = {}
                reporter.say(f"what frozen layers answer is not kept, but computed in every epoch: {error}")

    @property
    def network(self) -> fx.GraphModule:
        """What comes after the thaw line."""
        return self._frozen.halves.rest

    def training_batches(
        self,
        batch_size: int,
        seed: int,
        epoch: int,
        start: int = 0,
        sampling: Sampling = "natural",
        own: Own = np.arange,
    ) -> Iterator[Batch]:
        """Return the batches of one epoch, in a drawn order from step ``start`` on."""
        of = partial(self._activations, self._train)
        return batches_of_views(self._train, of, batch_size, seed, epoch, start, sampling, own)

    def plain_batches(self, split: Split, rows: Sequence[Rows] | None = None) -> Iterator[Tensor]:
        """Yield the activations of the images of either split as they are, in their order, or of the batches named.

        Raises:
            ValueError: of the training images other versions are kept.
        """
        whole = self._val if split is self._val.split else self._train
        if whole.count:
            raise ValueError("the training images are kept in other versions than as they are")
        for chosen in stopping.between(inference_rows(split) if rows is None else rows):
            yield in_order(np.full(len(chosen), PLAIN), chosen, partial(self._activations, whole))

    def _activations(self, of: Views, chosen: Rows, view: int) -> Tensor:
        return self._stored(of, chosen, view) if view in self._stores else self._computed(of, chosen, view)

    def _stored(self, of: Views, chosen: Rows, view: int) -> Tensor:
        """Return what is kept, on the training device; what was damaged since it was looked at is computed."""
        device = self._frozen.hardware.device
        try:
            stored = self._stores[view].take(of.split.rows[chosen])
        except DamagedError:
            return self._computed(of, chosen, view)
        return stored.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else stored

    def _computed(self, of: Views, chosen: Rows, view: int) -> Tensor:
        """Return what a store would have, computed in the same way."""
        parts = [chosen[at : at + INFERENCE_BATCH] for at in range(0, len(chosen), INFERENCE_BATCH)]
        return torch.cat([self._frozen.compute_filled_up(of.images(part, view)) for part in parts])

    def _fill(self, cache: Cache, reporter: Reporter) -> None:
        answers = self._frozen.digest()
        keys = {}
        for view in dict.fromkeys([*self._train.all, PLAIN]):
            drawn = None if view == PLAIN else self._train.augment.identity()
            keys[view] = digest_of({"frozen": answers, "data": cache.data, "view": view, "augment": drawn})
        own = [cache.path(key) for key in keys.values()]
        for view, key in keys.items():
            with cache.filling(key, len(self._train.split.store), self._frozen.form) as store:
                shown = np.flatnonzero(np.any([views == view for views in self._shown], axis=0))
                everything = np.arange(len(self._val.split) if view == PLAIN else 0)
                for views, asked in ((self._train, shown), (self._val, everything)):
                    rows = views.split.rows[asked]
                    places = asked[np.isin(rows, store.missing(rows))]
                    cache.make_room(len(places) * store.record, own)
                    self._fill_one(store, views, places, view, reporter)
            self._stores[view] = store

    def _fill_one(self, store: Store, views: Views, places: Rows, view: int, reporter: Reporter) -> None:
        if not len(places):
            return
        split = views.split
        name = "as they are" if view == PLAIN else f"in version {view + 1}"
        with reporter.counting(f"frozen layers, images {name}", len(places)) as advance:
            for start in stopping.between(range(0, len(places), INFERENCE_BATCH)):
                chosen = places[start : start + INFERENCE_BATCH]
                store.put(split.rows[chosen], self._frozen.compute_filled_up(views.images(chosen, view)))
                advance(len(chosen))
