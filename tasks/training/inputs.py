"""What a network is given in an epoch: images, views of them, or what its frozen trunk answered for them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from tasks.strategies import freezing
from tasks.strategies.selectors import HEAD
from tasks.strategies.surgery import Adapted
from tasks.strategies.thaw_line import names_that_train
from tasks.training.batches import Batch, LocalRows, Rows, Split, inference_rows, training_batches
from tasks.training.device import Hardware
from tasks.training.feature_cache import CachedFeatures
from tasks.training.frozen_trunk import FrozenTrunk, frozen_trunk
from tasks.training.inference import to_device
from tasks.training.job import TrainingJob
from tasks.training.parallel import Parallelism
from tasks.training.progress import Reporter
from tasks.training.resolution import resized, sides_of
from tasks.training.state import TrainingState
from tasks.training.views import Views, batches_of_views, by_view

DEFAULT_VIEWS = 2


class Inputs(ABC):
    """The inputs of epochs in which the same layers train, and what of the network they are for.

    Attributes:
        network: what takes the inputs and answers logits.
    """

    network: nn.Module

    def __init__(self, job: TrainingJob, parallelism: Parallelism) -> None:
        self._job, self._parallelism = job, parallelism
        self._wrapped: nn.Module | None = None

    @abstractmethod
    def batches(self, epoch: int, step: int) -> Iterator[Batch]:
        """Yield the batches of an epoch from a step on, with the inputs of this process's rows, on the device."""

    @abstractmethod
    def local_answers(self, split: Split) -> list[Tensor]:
        """Return the logits of this process's batches of a split as it is: float32, on the CPU."""

    def wrapped_network(self, example: Tensor) -> nn.Module:
        """Return what trains, whose backward passes leave the mean of all processes' gradients.

        Args:
            example: inputs of a batch.
        """
        if self._wrapped is None:
            self._wrapped = self._parallelism.wrap(self.network, example)
        return self._wrapped

    @property
    def _local_rows(self) -> LocalRows:
        return partial(self._job.processes.local_rows, micro_batch=self._job.settings.micro_batch)


class Images(Inputs):
    """Every image augmented anew in every epoch, in the size of the epoch.

    Args:
        sides: of the epochs' images, in pixels.
    """

    def __init__(self, adapted: Adapted, job: TrainingJob, parallelism: Parallelism, sides: Sequence[int]) -> None:
        super().__init__(job, parallelism)
        self._adapted, self._sides, self.network = adapted, sides, adapted.model

    def batches(self, epoch: int, step: int) -> Iterator[Batch]:
        """Yield batches of images."""
        job, settings = self._job, self._job.settings
        return self._to_device(
            epoch,
            training_batches(
                job.train, settings.batch_size, job.augment, settings.seed, epoch, step, settings.sampling,
                self._local_rows,
            ),
        )  # fmt: skip

    def _to_device(self, epoch: int, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            images = resized(batch.inputs, self._sides[epoch])
            yield batch._replace(inputs=to_device(self._adapted, images, self._job.hardware))

    def local_answers(self, split: Split) -> list[Tensor]:
        """Return the whole network's logits."""
        return self._parallelism.local_answers(self._adapted, split)


class ImagesInViews(Images):
    """A number of versions of every image in turn: what a whole network would take from the feature cache."""

    def __init__(
        self, adapted: Adapted, job: TrainingJob, parallelism: Parallelism, sides: Sequence[int], views: Views
    ) -> None:
        super().__init__(adapted, job, parallelism, sides)
        self._views = views

    def batches(self, epoch: int, step: int) -> Iterator[Batch]:
        """Yield batches of images in the views that the epoch shows."""
        settings, views = self._job.settings, self._views
        return self._to_device(
            epoch,
            batches_of_views(
                views, views.images, settings.batch_size, settings.seed, epoch, step, settings.sampling,
                self._local_rows,
            ),
        )  # fmt: skip


class Features(Inputs):
    """What the frozen trunk answers for the views, from the feature cache; the layers behind it train on that.

    Args:
        cached: the features.
        on_images: answers for a split by the whole network, where the weights that are validated have another trunk
            than the one that answered; None: they have the same.
    """

    def __init__(
        self, cached: CachedFeatures, job: TrainingJob, parallelism: Parallelism, on_images: Images | None
    ) -> None:
        super().__init__(job, parallelism)
        self._cached, self._on_images, self.network = cached, on_images, cached.network

    def batches(self, epoch: int, step: int) -> Iterator[Batch]:
        """Yield batches of features."""
        settings = self._job.settings
        return self._cached.training_batches(
            settings.batch_size, settings.seed, epoch, step, settings.sampling, self._local_rows
        )

    def local_answers(self, split: Split) -> list[Tensor]:
        """Return the logits of the layers behind the trunk."""
        if self._on_images:
            return self._on_images.local_answers(split)
        answers, answer = [], self._job.hardware.answering(self._cached.answering_network)
        for features in self._cached.plain_batches(split, self._job.processes.local_batches(inference_rows(split))):
            with torch.inference_mode():
                answers.append(answer(features).float().cpu())
        return answers


class InputsOfEpochs:
    """Says what the network is given in an epoch; features are kept while the same layers train."""

    def __init__(
        self,
        adapted: Adapted,
        undivided: Adapted,
        job: TrainingJob,
        state: TrainingState,
        parallelism: Parallelism,
        reporter: Reporter,
    ) -> None:
        """Note what inputs are made of.

        Args:
            adapted: the network that trains, as the processes placed it.
            undivided: the same, whole.
            job: data, plan and settings.
            state: says whether other weights are validated than trained.
            parallelism: how the processes train it.
            reporter: shows what is computed.
        """
        self._adapted, self._undivided, self._job, self._parallelism = adapted, undivided, job, parallelism
        self._reporter = reporter
        parameters = {name for name, _ in adapted.model.named_parameters()}
        self._averaged = parameters.intersection(state.names if state.average else ())
        _, size, _, channels = job.train.store.shape
        self._sides = sides_of(undivided, job.settings, job.plan, size, channels)
        remark = self._sides.remark()
        if remark:
            reporter.say(remark)
        self._key: tuple[frozenset[str], int, int] | None = None
        self._inputs: Inputs

    def of_epoch(self, epoch: int) -> Inputs:
        """Return the inputs of an epoch, for which the plan was applied to the network."""
        key = self._key_of(epoch)
        if key != self._key:
            self._key, self._inputs = key, self._made(epoch, *key)
        return self._inputs

    def _key_of(self, epoch: int) -> tuple[frozenset[str], int, int]:
        """Return what trains in an epoch, in how many versions its images are kept, and their side."""
        return names_that_train(self._job.plan, epoch), self._views_of(epoch), self._sides.behind_thaw_line[epoch]

    def _views_of(self, epoch: int) -> int:
        """Return in how many versions an epoch's images are kept; 0: as they are."""
        plan, views = self._job.plan, self._job.settings.views
        phase = plan.phases[plan.phase(epoch)[0]]
        if phase.solved:
            return 0
        return views if views is not None else 0 if set(phase.rates) == {HEAD} else DEFAULT_VIEWS

    def _made(self, epoch: int, trains: frozenset[str], count: int, side: int) -> Inputs:
        job, views, sides = self._job, Views(self._job.train, self._job.augment, count), self._sides
        images = Images(self._adapted, job, self._parallelism, sides.by_epoch)
        if self._parallelism.is_sharded:
            if not job.processes.broadcast(self._would_keep_features(epoch, trains, side)):
                return images
            return ImagesInViews(self._adapted, job, self._parallelism, sides.behind_thaw_line, views)
        trunks = self._trunks(self._adapted, trains, side, job.hardware)
        if trunks is None:
            return images
        epochs = [later for later in range(epoch, job.plan.epochs) if self._key_of(later) == (trains, count, side)]
        with job.processes.rank_zero_first():  # which keeps what the trunk answers
            cached = CachedFeatures(*trunks, views, job.val, job.cache, self._reporter, self._asked(views, epochs))
        return Features(cached, job, self._parallelism, images if self._averaged - trains else None)

    def _asked(self, views: Views, epochs: Sequence[int]) -> dict[int, Rows]:
        """Return the training images that epochs ask for, by version, up to where training pauses."""
        asked = {view: np.zeros(len(views.split), dtype=bool) for view in views.all}
        for epoch in epochs:
            rows = self._job.shown_in(epoch)
            for view, at in by_view(views.of_epoch(self._job.settings.seed, epoch)[rows]):
                asked[view][rows[at]] = True
        return {view: np.flatnonzero(mask) for view, mask in asked.items() if mask.any()}

    def _trunks(
        self, adapted: Adapted, trains: frozenset[str], side: int, hardware: Hardware
    ) -> tuple[FrozenTrunk, FrozenTrunk] | None:
        """Return the frozen beginning for images that are trained on, and for those that are answered."""
        channels = self._job.train.store.shape[3]
        trunk = frozen_trunk(adapted, trains, side, channels, hardware)
        is_whole = side == self._sides.full
        whole = trunk if is_whole else frozen_trunk(adapted, trains, self._sides.full, channels, hardware)
        return (trunk, whole) if trunk and whole else None

    def _would_keep_features(self, epoch: int, trains: frozenset[str], side: int) -> bool:
        """Return whether a sharded network would start from features, were it whole; for the first process."""
        job = self._job
        if job.processes.rank:
            return False
        updates = job.settings.updates_statistics
        freezing.apply(job.plan, self._undivided.model, epoch, update_statistics=updates)
        on_processor = replace(job.hardware, device=torch.device("cpu"))
        return self._trunks(self._undivided, trains, side, on_processor) is not None
