"""Cached features: where a network's trunk is frozen, epochs start with what it answered, not with images."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, fx

from tasks import stopping
from tasks.files import digest_of
from tasks.params import Sampling
from tasks.training.activations import Cache, DamagedError, NoSpaceError, Store
from tasks.training.batches import INFERENCE_BATCH, Batch, LocalRows, Rows, Split, inference_rows
from tasks.training.frozen_trunk import FrozenTrunk
from tasks.training.progress import Reporter
from tasks.training.resolution import resized
from tasks.training.views import PLAIN, Views, batches_of_views, in_order


class CachedFeatures:
    """What trains in some epochs, and the activations that it is given in place of images."""

    def __init__(
        self,
        trunk: FrozenTrunk,
        whole: FrozenTrunk,
        train: Views,
        val: Split,
        cache: Cache | None,
        reporter: Reporter,
        asked: Mapping[int, Rows] | None = None,
    ) -> None:
        """Fill the stores with all that some epochs will ask for; without space, it is computed whenever it is.

        Args:
            trunk: for the size of the images that are trained on.
            whole: for that of those that are answered; the same, where it is the same.
            train, val: the two splits, the first in versions.
            cache: where the stores lie; None: there are none.
            reporter: shows progress.
            asked: the training images that will be asked for, by version; None: all of them as they are.
        """
        self._trunk, self._whole, self._train = trunk, whole, train
        self._shown = {PLAIN: np.arange(len(train.split))} if asked is None else asked
        self._val = Views(val, train.augment, 0)
        self._stores: dict[tuple[int, int], Store] = {}  # by side and version
        if cache:
            try:
                self._fill(cache, reporter)
            except NoSpaceError as error:
                self._stores = {}
                reporter.say(f"what frozen layers answer is not kept, but computed in every epoch: {error}")

    @property
    def network(self) -> fx.GraphModule:
        """What comes after the thaw line, for what is trained on."""
        return self._trunk.halves.rest

    @property
    def answering_network(self) -> fx.GraphModule:
        """The same modules, for what ``plain_batches`` yields of the validation images."""
        return self._whole.halves.rest

    def training_batches(
        self,
        batch_size: int,
        seed: int,
        epoch: int,
        start: int = 0,
        sampling: Sampling = "natural",
        local_rows: LocalRows = np.arange,
    ) -> Iterator[Batch]:
        """Return the batches of one epoch, in a drawn order from step ``start`` on."""
        inputs_of = partial(self._activations, self._trunk, self._train)
        return batches_of_views(self._train, inputs_of, batch_size, seed, epoch, start, sampling, local_rows)

    def plain_batches(self, split: Split, rows: Sequence[Rows] | None = None) -> Iterator[Tensor]:
        """Yield the activations of the images of either split as they are, in their order, or of the batches named.

        Raises:
            ValueError: of the training images other versions are kept.
        """
        views, trunk = (self._val, self._whole) if split is self._val.split else (self._train, self._trunk)
        if views.count:
            raise ValueError("the training images are kept in other versions than as they are")
        for chosen in stopping.between(inference_rows(split) if rows is None else rows):
            yield in_order(np.full(len(chosen), PLAIN), chosen, partial(self._activations, trunk, views))

    def _activations(self, trunk: FrozenTrunk, views: Views, chosen: Rows, view: int) -> Tensor:
        """Return what is kept, on the training device; what isn't, or was damaged since it was looked at, is computed.

        Args:
            trunk: that answered.
            views: the images and their versions.
            chosen: images of the split.
            view: their version.
        """
        device = trunk.hardware.device
        try:
            stored = self._stores[trunk.side, view].take(views.split.rows[chosen])
        except (KeyError, DamagedError):
            parts = [chosen[at : at + INFERENCE_BATCH] for at in range(0, len(chosen), INFERENCE_BATCH)]
            return torch.cat([_computed(trunk, views, part, view) for part in parts])
        return stored.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else stored

    def _fill(self, cache: Cache, reporter: Reporter) -> None:
        keys = {
            (trunk.side, view): self._key(trunk, view, cache)
            for trunk, views in ((self._trunk, self._train), (self._whole, self._val))
            for view in views.all
        }
        needed = [cache.path(key) for key in keys.values()]
        for (side, view), key in keys.items():
            asked = list(self._asked(side, view))
            if not asked:
                continue
            form = self._trunk.form if side == self._trunk.side else self._whole.form
            with cache.filling(key, len(self._train.split.store), form) as store:
                for trunk, views, shown in asked:
                    rows = views.split.rows[shown]
                    places = shown[np.isin(rows, store.missing(rows))]
                    cache.make_room(len(places) * store.record, needed)
                    _fill_one(store, trunk, views, places, view, reporter)
            self._stores[side, view] = store

    def _key(self, trunk: FrozenTrunk, view: int, cache: Cache) -> str:
        """Return the digest of all that a store's content depends on."""
        drawn = None if view == PLAIN else self._train.augment.identity()
        content = {"frozen": trunk.digest(), "side": trunk.side, "data": cache.data, "view": view, "augment": drawn}
        return digest_of(content)

    def _asked(self, side: int, view: int) -> Iterator[tuple[FrozenTrunk, Views, Rows]]:
        """Yield which images of either split are asked for in a version and a size."""
        if side == self._trunk.side and view in self._shown:
            yield self._trunk, self._train, self._shown[view]
        if side == self._whole.side and view == PLAIN:
            yield self._whole, self._val, np.arange(len(self._val.split))


def _computed(trunk: FrozenTrunk, views: Views, chosen: Rows, view: int) -> Tensor:
    """Return what a store has of at most ``INFERENCE_BATCH`` images."""
    return trunk.compute_filled_up(resized(views.images(chosen, view), trunk.side))


def _fill_one(store: Store, trunk: FrozenTrunk, views: Views, places: Rows, view: int, reporter: Reporter) -> None:
    if not len(places):
        return
    name = "as they are" if view == PLAIN else f"in version {view + 1}"
    with reporter.counting(f"frozen layers, images {name}", len(places)) as advance:
        for start in stopping.between(range(0, len(places), INFERENCE_BATCH)):
            chosen = places[start : start + INFERENCE_BATCH]
            store.put(views.split.rows[chosen], _computed(trunk, views, chosen, view))
            advance(len(chosen))
