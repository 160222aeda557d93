"""The section ``train``: how every strategy is fine-tuned, as far as it doesn't say otherwise."""

from typing import Literal

from pydantic import Field, field_validator

from tasks.params.section import Section
from tasks.params.values import Budget, Rates, Shares, TrainSize

Sampling = Literal["natural", "balanced"]
Solver = Literal["steps", "lbfgs"]


class TrainParams(Section):
    """Settings of a fine-tuning that stand under ``train`` for all strategies, and in a strategy for itself."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where a network trains and answers; ``auto`` takes CUDA where there is one, else the CPU."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """``auto`` takes bfloat16 autocast where the device gains from it, else float32; on a processor that is measured,
    for training and for what only answers by itself."""

    seed: int = 0
    """Seed of new weights, of the order of the images, of augmentation and of dropout."""

    epochs: int = Field(6, ge=1, le=10_000)
    """Epochs of a phase that does not say otherwise."""

    batch_size: int = Field(16, ge=1, le=4096)
    """Images a step of the optimizer."""

    size: TrainSize = "full"
    """Side in pixels of the images that are trained on, but for the last epochs; what is answered, between epochs, too,
    has ``data.size``, and is shown larger by that. ``full`` is ``data.size``; ``auto`` is a 1.286th of it, a multiple
    of 32, at least 224 (224 for 288; Touvron et al., NeurIPS 2019), and ``full`` in networks that take no other. Epochs
    of the head alone see whole images."""

    full_size_epochs: int = Field(1, ge=0)
    """Last epochs that train on images of ``data.size``, so that weights and statistics suit what is answered."""

    micro_batch: int | None = Field(None, ge=1)
    """Images that are in the network at once; the gradients of a batch's parts are accumulated. Unset: the batch."""

    processes: int = Field(1, ge=1, le=1024)
    """Processes that train together, each on its part of every batch: one a GPU, or a part of the processor's cores
    each. torchrun's ``--nproc-per-node`` says otherwise."""

    sharded: bool = False
    """Whether these processes divide weights, gradients and optimizer state, too, for networks that don't fit (FSDP).
    Frozen layers then run in every epoch; outside of training the network is whole."""

    activation_checkpointing: bool = False
    """Keep the activations between stages only, and compute the others again: less memory, more time."""

    frozen_precision: Literal["float32", "bfloat16"] = "float32"
    """What the weights of frozen convolutions and linear layers are kept in."""

    optimizer: Literal["adamw", "sgd"] = "adamw"
    """``adamw`` (Loshchilov and Hutter, ICLR 2019), or ``sgd``: stochastic gradient descent with ``momentum``."""

    lr: Rates = 1e-4
    """Peak learning rate; ``pretraining/10`` is a tenth of the rate the weights were trained with, by the same kind of
    optimizer (SGD for most networks of torchvision); ``find`` is the result of a learning-rate range test (Smith, WACV
    2017); a mapping gives selectors their own."""

    weight_decay: float = Field(0.01, ge=0)
    """Weight decay of the optimizer, which biases and norm layers don't have; of ``adamw`` it is decoupled from the
    gradients. The default is PyTorch's for AdamW."""

    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of ``sgd``; ``adamw`` has none."""

    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of a phase's steps over which the rate rises linearly; a cosine to zero follows."""

    batchnorm: Literal["frozen", "train"] = "frozen"
    """``frozen`` keeps the pretrained statistics in layers that train, ``train`` updates them."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of a label's probability that all classes get alike in the training loss (Szegedy et al., CVPR 2016); 0
    switches it off."""

    class_weights: bool = False
    """Weigh the loss by inverse class frequency."""

    sampling: Sampling = "natural"
    """``natural``: every image once an epoch; ``balanced``: as many, drawn with replacement, each class with the same
    probability."""

    focal_gamma: float = Field(0.0, ge=0)
    """0 is cross-entropy; larger values take weight off the images that are already told apart (focal loss; Lin et al.,
    ICCV 2017)."""

    logit_adjustment: float = Field(0.0, ge=0)
    """This many times the logarithm of the class's frequency in the training split is added to the logits in the
    training loss, not in predictions; 0 switches it off, 1 makes the balanced error the target (Menon et al., ICLR
    2021)."""

    clip_norm: float = Field(0.0, ge=0)
    """Length to which a longer gradient of all that trains is shortened before a step (Pascanu et al., ICML 2013); 0
    switches it off."""

    views: int | None = Field(None, ge=0, le=100)
    """Where the network's beginning is frozen, the number of augmented versions of each training image that the epochs
    draw from, so that the frozen layers answer each version once; 0: the images as they are. Unset: 0 in phases of the
    head alone, 2 in others. Where training starts with the first layer, every step draws anew."""

    activations_gib: float = Field(20.0, ge=0)
    """What the answers of frozen layers may take of the disk, in GiB (``data/work/activations``); 0: none are kept."""

    solver: Solver = "steps"
    """How a phase of the head alone trains: ``steps`` of the optimizer, or ``lbfgs``: a linear head is solved on the
    frozen features to convergence, its regularisation chosen by the validation loss. That counts as one epoch, and
    takes no learning rate."""

    tta: bool = False
    """Answer by the mean over an image and its mirror image, and for images without an up also over both upside down
    (test-time augmentation); the validation between epochs takes images as they are."""

    patience: int = Field(5, ge=1)
    """Epochs of the last phase without a better validation loss before training stops early."""


class SharedParams(TrainParams):
    """The settings that every strategy shares, how often each is fine-tuned, and how long all of them may take.

    A strategy may override each but ``budget``, ``seeds`` and ``shares``. The validation loss that chooses the best
    epoch is the mean cross-entropy over the images; over the classes where the training is told to treat them alike
    (class weights, balanced sampling, logit adjustment).

    Example:
        train:
          epochs: 10
          batch_size: 32
          optimizer: sgd
          lr: pretraining/10
          class_weights: true
          budget: 30m
    """

    budget: Budget = "auto"
    """``auto``: strategies race, and who can't win any more, by the evidence on the validation split, is stopped; in
    seconds or such as ``10m``: they race within this training time, all together, without what the repeats below take;
    ``none``: all are trained to their end."""

    seeds: int = Field(1, ge=1, le=100)
    """Fine-tunings of every strategy, with ``seed``, ``seed + 1``, …: with several, the verdict's means and intervals
    are over images and seeds. The first one's model is the strategy's model."""

    shares: Shares = ()
    """Shares of the training split, of each class alike, that every strategy is also fine-tuned on: the learning curve
    by the number of images."""

    @field_validator("shares")
    @classmethod
    def _are_different(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(set(shares)))
