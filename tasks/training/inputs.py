"""What a network is given in an epoch: images, views of them, or what its frozen trunk answered for them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from tasks.strategies import freezing
from tasks.strategies.selectors import HEAD
from tasks.strategies.surgery import Adapted
from tasks.strategies.thaw_line import names_that_train
from tasks.training.batches import Batch, LocalRows, Split, inference_rows, training_batches
from tasks.training.feature_cache import CachedFeatures
from tasks.training.frozen_trunk import frozen_trunk
from tasks.training.inference import to_device
from tasks.training.job import TrainingJob
from tasks.training.parallel import Parallelism
from tasks.training.progress import Reporter
from tasks.training.resolution import resized, side_of_epoch
from tasks.training.state import TrainingState
from tasks.training.views import Views, batches_of_views

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
    """Every image augmented anew in every epoch, at the epoch's resolution."""

    def __init__(self, adapted: Adapted, job: TrainingJob, parallelism: Parallelism) -> None:
        super().__init__(job, parallelism)
        self._adapted, self.network = adapted, adapted.model

    def batches(self, epoch: int, step: int) -> Iterator[Batch]:
        """Yield batches of images."""
        job, settings, full = self._job, self._job.settings, self._job.train.store.shape[1]
        side = side_of_epoch(settings.start_size, full, epoch, job.plan.epochs)
        for batch in training_batches(
            job.train, settings.batch_size, job.augment, settings.seed, epoch, step, settings.sampling, self._local_rows
        ):
            yield batch._replace(inputs=to_device(self._adapted, resized(batch.inputs, side), job.hardware))

    def local_answers(self, split: Split) -> list[Tensor]:
        """Return the whole network's logits."""
        return self._parallelism.local_answers(self._adapted, split)


class ImagesInViews(Images):
    """A number of versions of every image in turn: what a whole network would take from the feature cache."""

    def __init__(self, adapted: Adapted, job: TrainingJob, parallelism: Parallelism, views: Views) -> None:
        super().__init__(adapted, job, parallelism)
        self._views = views

    def batches(self, epoch: int, step: int) -> Iterator[Batch]:
        """Yield batches of images in the views that the epoch shows."""
        settings, views = self._job.settings, self._views
        for batch in batches_of_views(
            views, views.images, settings.batch_size, settings.seed, epoch, step, settings.sampling, self._local_rows
        ):
            yield batch._replace(inputs=to_device(self._adapted, batch.inputs, self._job.hardware))


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
        answers, answer = [], self._job.hardware.answering(self.network)
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
        self._key: tuple[frozenset[str], int] | None = None
        self._inputs: Inputs

    def of_epoch(self, epoch: int) -> Inputs:
        """Return the inputs of an epoch, for which the plan was applied to the network."""
        key = names_that_train(self._job.plan, epoch), self._views_of(epoch)
        if key != self._key:
            self._key, self._inputs = key, self._made(epoch, *key)
        return self._inputs

    def _views_of(self, epoch: int) -> int:
        """Return in how many versions an epoch's images are kept; 0: as they are."""
        plan, views = self._job.plan, self._job.settings.views
        phase = plan.phases[plan.phase(epoch)[0]]
        if phase.solved:
            return 0
        return views if views is not None else 0 if set(phase.rates) == {HEAD} else DEFAULT_VIEWS

    def _made(self, epoch: int, trains: frozenset[str], count: int) -> Inputs:
        job, views = self._job, Views(self._job.train, self._job.augment, count)
        images = Images(self._adapted, job, self._parallelism)
        if self._parallelism.is_sharded:
            in_views = job.processes.broadcast(self._would_keep_features(epoch, trains))
            return ImagesInViews(self._adapted, job, self._parallelism, views) if in_views else images
        _, size, _, channels = job.train.store.shape
        trunk = frozen_trunk(self._adapted, trains, size, channels, job.hardware)
        if trunk is None:
            return images
        epochs = (later for later in range(epoch, job.plan.epochs) if names_that_train(job.plan, later) == trains)
        with job.processes.rank_zero_first():  # which keeps what the trunk answers
            cached = CachedFeatures(trunk, views, job.val, job.cache, self._reporter, job.settings.seed, epochs)
        return Features(cached, job, self._parallelism, images if self._averaged - trains else None)

    def _would_keep_features(self, epoch: int, trains: frozenset[str]) -> bool:
        """Return whether a sharded network would start from features, were it whole; for the first process."""
        job, (_, size, _, channels) = self._job, self._job.train.store.shape
        if job.processes.rank:
            return False
        updates = job.settings.updates_statistics
        freezing.apply(job.plan, self._undivided.model, epoch, update_statistics=updates)
        on_processor = replace(job.hardware, device=torch.device("cpu"))
        return frozen_trunk(self._undivided, trains, size, channels, on_processor) is not None
