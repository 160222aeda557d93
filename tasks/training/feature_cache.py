"""Cached features: where a network's trunk is frozen, epochs start with what it answered, not with images."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
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
from tasks.training.views import PLAIN, Views, batches_of_views, in_order


class CachedFeatures:
    """What trains in some epochs, and the activations that it is given in place of images."""

    def __init__(
        self,
        trunk: FrozenTrunk,
        train: Views,
        val: Split,
        cache: Cache | None,
        reporter: Reporter,
        seed: int = 0,
        epochs: Iterable[int] = (0,),
    ) -> None:
        """Fill the stores with all that some epochs will ask for; without space, it is computed whenever it is."""
        self._trunk, self._train = trunk, train
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
        return self._trunk.halves.rest

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
        inputs_of = partial(self._activations, self._train)
        return batches_of_views(self._train, inputs_of, batch_size, seed, epoch, start, sampling, local_rows)

    def plain_batches(self, split: Split, rows: Sequence[Rows] | None = None) -> Iterator[Tensor]:
        """Yield the activations of the images of either split as they are, in their order, or of the batches named.

        Raises:
            ValueError: of the training images other versions are kept.
        """
        views = self._val if split is self._val.split else self._train
        if views.count:
            raise ValueError("the training images are kept in other versions than as they are")
        for chosen in stopping.between(inference_rows(split) if rows is None else rows):
            yield in_order(np.full(len(chosen), PLAIN), chosen, partial(self._activations, views))

    def _activations(self, views: Views, chosen: Rows, view: int) -> Tensor:
        return self._stored(views, chosen, view) if view in self._stores else self._computed(views, chosen, view)

    def _stored(self, views: Views, chosen: Rows, view: int) -> Tensor:
        """Return what is kept, on the training device; what was damaged since it was looked at is computed."""
        device = self._trunk.hardware.device
        try:
            stored = self._stores[view].take(views.split.rows[chosen])
        except DamagedError:
            return self._computed(views, chosen, view)
        return stored.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else stored

    def _computed(self, views: Views, chosen: Rows, view: int) -> Tensor:
        """Return what a store would have, computed in the same way."""
        parts = [chosen[at : at + INFERENCE_BATCH] for at in range(0, len(chosen), INFERENCE_BATCH)]
        return torch.cat([self._trunk.compute_filled_up(views.images(part, view)) for part in parts])

    def _fill(self, cache: Cache, reporter: Reporter) -> None:
        trunk = self._trunk.digest()
        keys = {}
        for view in dict.fromkeys([*self._train.all, PLAIN]):
            drawn = None if view == PLAIN else self._train.augment.identity()
            keys[view] = digest_of({"frozen": trunk, "data": cache.data, "view": view, "augment": drawn})
        needed = [cache.path(key) for key in keys.values()]
        for view, key in keys.items():
            with cache.filling(key, len(self._train.split.store), self._trunk.form) as store:
                shown = np.flatnonzero(np.any([views == view for views in self._shown], axis=0))
                everything = np.arange(len(self._val.split) if view == PLAIN else 0)
                for views, asked in ((self._train, shown), (self._val, everything)):
                    rows = views.split.rows[asked]
                    places = asked[np.isin(rows, store.missing(rows))]
                    cache.make_room(len(places) * store.record, needed)
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
                store.put(split.rows[chosen], self._trunk.compute_filled_up(views.images(chosen, view)))
                advance(len(chosen))
