"""``params.yaml``, typed: an unknown or misspelt key is an error that names the nearest one."""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, get_args

from PIL import ImageColor
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tasks import layout
from tasks.errors import UserError, nearest

PRETRAINING_RATE = re.compile(r"pretraining\s*(?:/\s*(?P<divisor>\d+(?:\.\d+)?))?")
RAY_ADDRESS = re.compile(r"(ray://)?([\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
STRATEGY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_rate(value: Any) -> Any:
    """Accept a number, a number that YAML took for text (``3e-5``), or ``pretraining/10``."""
    relative = PRETRAINING_RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if relative and float(relative["divisor"] or 1) > 0:
        return relative.group()
    try:
        rate = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        rate = 0.0
    if rate == 0 and value == 0:
        raise ValueError("0 is not a learning rate and freezes nothing: leave out of 'train' what is to stay frozen")
    if not 0 < rate <= 100:
        raise ValueError(f"'{value}' is not a learning rate (a number over 0, pretraining/10, or find)")
    return rate


def _as_rates(value: Any) -> Any:
    """Accept a rate, ``find``, or a rate a selector."""
    if value == FIND:
        return value
    return {key: _as_rate(rate) for key, rate in value.items()} if isinstance(value, dict) else _as_rate(value)


def _as_seconds(value: Any) -> Any:
    """Return seconds of a number with a unit, such as ``90s``, ``10m`` or ``1.5h``."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh])\s*", value)
    if not found:
        raise ValueError(f"'{value}' is no time: write seconds, or a number with s, m or h, such as 10m")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def _as_tuple(value: Any) -> Any:
    return value if value is None or isinstance(value, list | tuple) else (value,)


def _as_milestones(value: Any) -> Any:
    """Accept epochs as numbers or as text; the first thing to train does so from the start."""
    if not isinstance(value, dict):
        return value
    epochs = [str(key) for key in value]
    if not all(epoch.isdecimal() for epoch in epochs):
        raise ValueError("milestones are numbers of epochs, each with what starts to train after so many")
    if "0" not in epochs:
        raise ValueError("milestones need an entry for 0: what trains from the start")
    return {str(key): selectors for key, selectors in value.items()}


FIND = "find"
Rates = Annotated[float | str | dict[str, float | str], BeforeValidator(_as_rates)]
Selectors = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Sampling = Literal["natural", "balanced"]
Solver = Literal["steps", "lbfgs"]
READ_BY_DVC = ("split", "backbone", "augment", "train", "compare")  # sections of dvc.yaml that have defaults
TABLES = (".csv", ".tsv", ".tab", ".txt", ".parquet")


def expanded(path: str) -> Path:
    """Return a path of which ``~`` at the beginning is the home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # of a user who isn't there
        return Path(path)


class DataParams(_Section):
    """Where the images come from and how they are read.

    Attributes:
        source: ``elpv`` (the packaged solar cells), ``folder`` (a folder a class), ``manifest`` (a table with a row an
            image), ``archive`` (a .zip or .tar of either) or ``torchvision`` (one of its data sets).
        path: the folder, table or archive that is read, ``~`` being the home folder; ``data/fetched/NAME`` where it is
            fetched first.
        url: where a folder, table or archive is fetched from: ``s3://``, ``gs://``, ``ssh://``, ``https://``,
            ``file://``.
        rev: the git revision whose version of ``path`` is read; ``path`` is then one that this repository tracks.
        dataset: ``torchvision`` only: a class of ``torchvision.datasets``, such as ``CIFAR10``.
        follow_links: read what links lead to outside of ``path``, too, and enter linked folders; links into DVC's cache
            are always followed.
        max_files: an archive with more members than this is not unpacked.
        max_unpacked_bytes: an archive that unpacks to more than this is not unpacked.
        size: working height and width in pixels; every image is resized to ``size`` x ``size``.
        channels: 1 (grey), 2 (grey, alpha), 3 (RGB), 4 (RGB, alpha), or ``auto``: 1 if every image is grey, else 3.
        upright: whether the images have an up; decides which flips and turns are harmless. ``auto``: not for
            ``elpv``, but for a folder.
        defective_over: ``elpv`` only: a defect probability above this is labelled ``defective``.
        max_unreadable: the largest share of files that can't be used that a run tolerates.
        max_pixels: images with more pixels than this are not decoded (decompression bombs).
        max_bytes: files larger than this are not read.
        background: what images with alpha are laid over, by name (``white``) or number (``#ffffff``).
        label_case: whether classes, or subsets, whose names differ in case alone are one (``join``) or several
            (``keep``).
        range: which values of grey beyond 8 bits become black and white: ``robust`` (those of the whole set, but for a
            few pixels and images far outside), ``full`` (all values of the set), ``image`` (each image by its own,
            robustly), or two numbers.
    """

    source: Literal["elpv", "folder", "manifest", "archive", "torchvision"]
    path: str = Field(min_length=1)
    url: str = ""
    rev: str = ""
    dataset: str = ""
    follow_links: bool = False
    max_files: int = Field(1_000_000, gt=0)
    max_unpacked_bytes: int = Field(100_000_000_000, gt=0)
    size: int = Field(224, ge=16, le=2048)
    channels: Literal["auto", 1, 2, 3, 4] = "auto"
    upright: Literal["auto", True, False] = "auto"
    defective_over: float = Field(0.5, ge=0, lt=1)
    max_unreadable: float = Field(0.05, ge=0, le=1)
    max_pixels: int = Field(100_000_000, gt=0)
    max_bytes: int = Field(500_000_000, gt=0)
    background: str = "white"
    label_case: Literal["join", "keep"] = "join"
    range: Literal["robust", "full", "image"] | tuple[float, float] = "robust"

    @field_validator("range", mode="before")
    @classmethod
    def _is_a_range(cls, asked: Any) -> Any:
        if isinstance(asked, str) and asked in {"robust", "full", "image"}:
            return asked
        numbers = (
            isinstance(asked, list | tuple) and len(asked) == 2 and all(type(end) in {int, float} for end in asked)
        )
        if not numbers or not asked[0] < asked[1]:
            raise ValueError(f"'{asked}' is no range: write robust, full, image or two numbers such as [0, 4095]")
        return asked

    @field_validator("background")
    @classmethod
    def _is_a_colour(cls, name: str) -> str:
        try:
            ImageColor.getrgb(name)
        except ValueError as error:
            raise ValueError(
                f"'{name}' is not a colour: write a name such as white, or a number such as #ffffff"
            ) from error
        return name

    @model_validator(mode="after")
    def _says_where_images_come_from(self) -> "DataParams":
        if self.url and self.rev:
            raise ValueError("'url' and 'rev' are two places to fetch from: keep one")
        if (self.url or self.rev) and self.source in {"elpv", "torchvision"}:
            raise ValueError(
                f"'{'url' if self.url else 'rev'}' goes with folder, manifest and archive, not {self.source}"
            )
        if bool(self.dataset) != (self.source == "torchvision"):
            raise ValueError("'dataset' and 'source: torchvision' go together: write both, such as 'dataset: CIFAR10'")
        if not re.fullmatch(r"\w*", self.dataset):
            raise ValueError(f"'dataset' is a name such as CIFAR10, not '{self.dataset}'")
        if self.url and (not re.match(r"[\w+:]+://.", self.url) or self.fetched in {"", ".", ".."}):
            raise ValueError(f"'url' is an address such as s3://bucket/photos, not '{self.url}'")
        return self

    @model_validator(mode="after")
    def _reads_what_is_fetched(self) -> "DataParams":
        path = PurePosixPath(self.path)
        if self.rev:
            if path.is_absolute() or ".." in path.parts or not self.fetched:
                raise ValueError(
                    f"with 'rev', 'path' is one that this repository tracks, in a folder, not '{self.path}'"
                )
        elif self.fetched:
            place = PurePosixPath(layout.FETCHED, self.fetched)
            if path != place and not (self.source == "manifest" and path.parent == place):
                mend = f"write 'path: {place}'"
                if self.source == "elpv":
                    mend += f", or 'source: folder' for images of your own in {self.path}"
                raise ValueError(f"'path' must be {place}, where what is fetched lies: {mend}")
        elif expanded(self.path).resolve().is_relative_to(layout.FETCHED.resolve()):
            raise ValueError(
                f"'path' is in {layout.FETCHED}, which holds what is fetched and is emptied otherwise: say with 'url' "
                "where to fetch from, or put the images elsewhere"
            )
        return self

    @property
    def is_upright(self) -> bool:
        """Whether the images have an up; what a source doesn't say is taken for yes."""
        return self.source != "elpv" if self.upright == "auto" else self.upright

    @property
    def fetched(self) -> str:
        """What the fetched file or folder is called; empty where ``path`` is read as it is."""
        if self.source in {"elpv", "torchvision"}:
            return self.dataset or self.source
        if self.url:
            address = self.url.partition("?")[0] if self.url.startswith("http") else self.url
            return address.rstrip("/").rpartition("/")[2]
        return self._tracked().name if self.rev else ""

    @property
    def tracked(self) -> str:
        """The path that is fetched of a revision: ``path``, or for a table the folder that it lies in."""
        return self._tracked().as_posix() if self.rev else ""

    @property
    def root(self) -> Path:
        """The folder, table or archive that is really read."""
        if not self.rev:
            return expanded(self.path)
        return layout.FETCHED / self.fetched / PurePosixPath(self.path).relative_to(self._tracked())

    def _tracked(self) -> PurePosixPath:
        path = PurePosixPath(self.path)
        is_table = self.source == "manifest" and path.suffix.lower() in TABLES
        return path.parent if is_table else path


class SplitParams(_Section):
    """Shares of the images held out; what remains is trained on.

    Attributes:
        validation, test: shares of the images.
        near_duplicates: images that are at least this alike, whatever their exposure (1 is the same), never lie in
            different splits; ``false`` compares contents alone.
        repair: leave images out of training that leak into a held-out split which the source gave.
        folds: divide all images but the test split into so many folds, instead of drawing ``validation``, and let every
            strategy be trained once for each, validated on it; ``auto`` does so where a class has few images, and
            ``false`` never.
        fold: the only fold, from 0, that is validated on.
    """

    validation: float = Field(0.15, gt=0, lt=1)
    test: float = Field(0.25, gt=0, lt=1)
    seed: int = 0
    near_duplicates: Literal[False] | Annotated[float, Field(gt=0.5, le=1, strict=True)] = 0.9
    repair: bool = False
    folds: Literal["auto", False] | Annotated[int, Field(ge=2, le=100, strict=True)] | None = "auto"
    fold: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> "SplitParams":
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave nothing to train on (their sum must be below 1)")
        if (self.fold or 0) >= (self.divisions or 1):
            raise ValueError(f"'fold' {self.fold} is none of the folds, which are counted from 0 ('folds')")
        return self

    @property
    def divisions(self) -> int:
        """Number of folds that is asked for; 0: none, or as the images are."""
        return int(self.folds) if isinstance(self.folds, int) else 0

    @property
    def is_on_one_split(self) -> bool:
        """Whether every strategy is validated on one split or one fold, whatever the images are."""
        return not self.folds or self.fold is not None


class PartsParams(_Section):
    """What the layers of a network are for: names of modules and parameters, which stand for all below them.

    Attributes:
        stem: what meets the image first.
        stages: the layers between, in order; a list of names a stage.
        head: the classifier's last layer.
    """

    stem: Selectors
    stages: tuple[Selectors, ...] = Field(min_length=1)
    head: str


class BackboneParams(_Section):
    """The pretrained network.

    Attributes:
        name: a torchvision classification model, ``timm/`` with one of timm's, ``package.module:callable`` for an
            architecture of your own, which is imported from the current folder, or an ONNX file with its weights.
        weights: a torchvision weights name; of timm a pretrained tag, or ``pretrained`` for the one in the name; a
            file (``.pth``, ``.pt`` or ``.safetensors``); or ``none`` for random weights.
        sha256: the digest that the weights file must have; checked before the file is read.
        leave_out: regular expressions for the whole names of tensors that are not taken from the file but drawn new,
            such as those of layers that the file lacks or has in another shape.
        parts: what the layers are for, instead of what is known or found out about the network.
        mean, std: input statistics of the pretraining, for pixels in [0, 1], instead of the architecture's.
        lr: peak learning rate of the pretraining, instead of the architecture's.
    """

    name: str = "mobilenet_v2"
    weights: str = "IMAGENET1K_V1"
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    leave_out: Selectors | None = None
    parts: PartsParams | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    lr: float | None = Field(None, gt=0, le=100)

    @field_validator("leave_out")
    @classmethod
    def _are_patterns(cls, patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for pattern in patterns or ():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"'{pattern}' is not a regular expression: {error}") from error
        return patterns


class AugmentParams(_Section):
    """Random changes of the training images, drawn anew in every epoch.

    Attributes:
        flips: mirror left-right; also up-down for images without an up.
        quarter_turns: turn by multiples of 90 degrees, for images without an up.
        crop: smallest share of the area that a random crop keeps; 1 switches cropping off.
        brightness: largest relative change of brightness and contrast; 0 switches it off.
    """

    flips: bool = True
    quarter_turns: bool = True
    crop: float = Field(1.0, gt=0.05, le=1)
    brightness: float = Field(0.0, ge=0, lt=1)


class TrainParams(_Section):
    """Settings of a fine-tuning that every strategy shares; a strategy may override each of them.

    The validation loss that chooses the best epoch is the mean cross-entropy over the images; over the classes where
    the training is told to treat them alike (class weights, balanced sampling, logit adjustment).

    Attributes:
        device: ``auto`` takes CUDA where there is one, else the CPU.
        precision: ``auto`` takes bfloat16 autocast where the device gains from it, else float32.
        epochs: epochs of a phase that does not say otherwise.
        batch_size: images a step of the optimizer.
        micro_batch: images that are in the network at once; the gradients of a batch's parts are accumulated.
        processes: that train together, each on its part of every batch: one a GPU, or a part of the processor's cores
            each. torchrun's ``--nproc-per-node`` says otherwise.
        sharded: whether these processes divide weights, gradients and optimizer state, too, for networks that don't fit
            (FSDP). Frozen layers then run in every epoch; outside of training the network is whole.
        activation_checkpointing: keep the activations between stages only, and compute the others again.
        frozen_precision: what the weights of frozen convolutions and linear layers are kept in.
        lr: peak learning rate; ``pretraining/10`` is a tenth of the rate the weights were trained with, ``find``
            the result of a learning-rate range test; a mapping gives selectors their own.
        warmup: share of a phase's steps over which the rate rises linearly; a cosine to zero follows.
        batchnorm: ``frozen`` keeps the pretrained statistics in layers that train, ``train`` updates them.
        class_weights: weigh the loss by inverse class frequency.
        sampling: ``natural``: every image once an epoch; ``balanced``: as many, drawn with replacement, each class with
            the same probability.
        focal_gamma: 0 is cross-entropy; larger values take weight off the images that are already told apart (focal
            loss; Lin et al., ICCV 2017).
        logit_adjustment: this many times the logarithm of the class's frequency in the training split is added to the
            logits in the training loss, not in predictions; 0 switches it off, 1 makes the balanced error the target
            (Menon et al., ICLR 2021).
        views: where the network's beginning is frozen, the number of augmented versions of each training image that the
            epochs draw from, so that the frozen layers answer each version once; 0: the images as they are. Unset: 0 in
            phases of the head alone, 2 in others. Where training starts with the first layer, every step draws anew.
        activations_gib: what the answers of frozen layers may take of the disk, in GiB (``data/work/activations``); 0:
            none are kept.
        solver: how a phase of the head alone trains: ``steps`` of the optimizer, or ``lbfgs``: a linear head is solved
            on the frozen features to convergence, its regularisation chosen by the validation loss (see
            ``tasks.training.solving``). That counts as one epoch, and takes no learning rate.
        tta: answer by the mean over an image and its mirror image, and for images without an up also over both upside
            down (test-time augmentation); the validation between epochs takes images as they are.
        patience: epochs of the last phase without a better validation loss before training stops early.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0
    epochs: int = Field(6, ge=1, le=10_000)
    batch_size: int = Field(16, ge=1, le=4096)
    micro_batch: int | None = Field(None, ge=1)
    processes: int = Field(1, ge=1, le=1024)
    sharded: bool = False
    activation_checkpointing: bool = False
    frozen_precision: Literal["float32", "bfloat16"] = "float32"
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Rates = 1e-4
    weight_decay: float = Field(0.01, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    warmup: float = Field(0.1, ge=0, lt=1)
    batchnorm: Literal["frozen", "train"] = "frozen"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    class_weights: bool = False
    sampling: Sampling = "natural"
    focal_gamma: float = Field(0.0, ge=0)
    logit_adjustment: float = Field(0.0, ge=0)
    clip_norm: float = Field(0.0, ge=0)
    views: int | None = Field(None, ge=0, le=100)
    activations_gib: float = Field(20.0, ge=0)
    solver: Solver = "steps"
    tta: bool = False
    patience: int = Field(5, ge=1)


class SharedParams(TrainParams):
    """The settings that every strategy shares, how often each is fine-tuned, and how long all of them may take.

    Attributes:
        budget: training time of all strategies together, in seconds or such as ``10m``: they race, cheap ones first,
            and what can't catch up any more is stopped (see ``tasks.comparison.racing``). None: all run to their end.
            What the repeats below take is not in it.
        seeds: fine-tunings of every strategy, with ``seed``, ``seed + 1``, …: with several, the verdict's means and
            intervals are over images and seeds. The first one's model is the strategy's model.
        shares: shares of the training split, of each class alike, that every strategy is also fine-tuned on: the
            learning curve by the number of images.
    """

    budget: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_as_seconds)] = None
    seeds: int = Field(1, ge=1, le=100)
    shares: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], BeforeValidator(_as_tuple)] = ()

    @field_validator("shares")
    @classmethod
    def _are_different(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(set(shares)))


class HeadParams(_Section):
    """What replaces the classifier.

    Attributes:
        kind: ``linear``: one linear layer; ``mlp``: two; ``cosine``: class scores are cosines of the angle between
            features and class weights; ``on_top``: the old classifier is kept, with two new layers on top of it.
        hidden: width of the layer between, for ``mlp`` and ``on_top``.
        dropout: share of the features that are dropped in training.
    """

    kind: Literal["linear", "mlp", "cosine", "on_top"] = "linear"
    hidden: int = Field(256, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)


class StemParams(_Section):
    """How the first layer takes another number of channels than the three of the pretraining.

    Attributes:
        init: ``sum``: every channel gets the sum of the kernels, divided by the number of channels; ``repeat``: the
            kernels in turn; ``zero``: the channels beyond three start at zero; ``auto``: ``sum`` for one channel,
            ``repeat`` for two, ``zero`` for more than three.
        frozen: keep a replaced first layer frozen; otherwise it trains in every phase. One channel by ``sum``
            computes what the old layer computes, which counts as the old layer.
    """

    init: Literal["auto", "sum", "repeat", "zero"] = "auto"
    frozen: bool = False


class AdaptersParams(_Section):
    """Small trainable layers beside frozen ones, by the peft library; merged into the weights after training.

    Attributes:
        kind: ``lora`` (Hu et al., ICLR 2022), ``loha`` (Hyeon-Woo et al., ICLR 2022), ``lokr`` (Yeh et al., ICLR
            2024) or ``ia3`` (Liu et al., NeurIPS 2022).
        rank: of the update; ``ia3`` has none.
        alpha: the update is scaled by alpha / rank.
        targets: regular expressions for the whole names of the layers; unset: every convolution without groups and
            every linear layer of the parts that train.
    """

    kind: Literal["lora", "loha", "lokr", "ia3"] = "lora"
    rank: int = Field(8, ge=1)
    alpha: float = Field(16.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: Selectors | None = None


class PhaseParams(_Section):
    """Some epochs in which the same parts train at the same peak rate; unset values are the strategy's.

    Attributes:
        continues: the rate goes on with the schedule of the phase before, instead of warming up again.
    """

    train: Selectors
    epochs: int | None = Field(None, ge=1)
    lr: Rates | None = None
    solver: Solver | None = None
    continues: bool = False


class StrategyParams(TrainParams):
    """One way of fine-tuning: the shared settings, what is replaced, what trains, in which order and how fast.

    Attributes:
        start: ``pretrained`` or ``random`` weights.
        cut: number of stages to take away at the end; a new head follows.
        insert: number of new stages to put in before the head, which train in every phase.
        groups: regular expressions for whole names of parameters and buffers, a list a group, instead of the
            network's own parts; every name must match those of exactly one group.
        train: what trains: ``all``, ``stem``, ``stages``, ``head``, or a slice of stages such as ``stages[3:]``.
        gradual: thaw one part of ``train`` after the other from the top, this many epochs apart (Howard and Ruder,
            ACL 2018).
        milestones: instead of ``train``: what starts to train after how many epochs.
        phases: instead of ``train``: several phases one after the other.
        only: ``norms`` or ``biases``: train only these of the parts that train, and the head.
        adapters: train adapters instead of the weights of the parts that train, and the head.
        layer_decay: a part's rate is this share of the rate of the part above it (Clark et al., ELECTRA, 2020).
        auto_rgn: scale the parts' rates by their relative gradient norms before training (Lee et al., ICLR 2023).
        l2_sp: strength of the pull of pretrained weights towards their start (Li et al., ICML 2018); takes the place
            of their weight decay.
        ema: keep the exponential moving average of the weights, with this decay a step.
        start_size: side in pixels of the images that the first epochs see; it grows to ``data.size`` over three fifths
            of the epochs (progressive resolution; Tan and Le, ICML 2021). Epochs from a thaw line on see no images.
        soup: fine-tune this often, in different orders, and average greedily (Wortsman et al., ICML 2022).
        wise_ft: after training, mix in the weights from before the last phase: this share of the fine-tuned, or the
            best of several by the validation loss (Wortsman et al., CVPR 2022).
    """

    start: Literal["pretrained", "random"] = "pretrained"
    head: HeadParams = HeadParams()
    stem: StemParams = StemParams()
    cut: int = Field(0, ge=0)
    insert: int = Field(0, ge=0, le=8)
    groups: dict[str, Selectors] | None = Field(None, min_length=1)
    train: Selectors | None = None
    gradual: int | None = Field(None, ge=1)
    milestones: Annotated[dict[str, Selectors] | None, BeforeValidator(_as_milestones)] = None
    phases: tuple[PhaseParams, ...] = ()
    only: Literal["all", "norms", "biases"] = "all"
    adapters: AdaptersParams | None = None
    layer_decay: float | None = Field(None, gt=0, le=1)
    auto_rgn: bool = False
    l2_sp: float = Field(0.0, ge=0)
    ema: Share | None = None
    start_size: int | None = Field(None, ge=16)
    soup: int = Field(1, ge=1, le=32)
    wise_ft: Annotated[tuple[Share, ...] | None, BeforeValidator(_as_tuple)] = None

    @model_validator(mode="after")
    def _says_what_trains(self) -> "StrategyParams":
        if sum((self.train is not None, self.milestones is not None, bool(self.phases))) != 1:
            raise ValueError("says what trains with one of 'train', 'milestones' and 'phases'")
        if self.gradual and self.train is None:
            raise ValueError("'gradual' thaws what 'train' names")
        if self.adapters and (self.only != "all" or self.groups):
            raise ValueError("'adapters' does not go with 'only' or 'groups'")
        if self.adapters and (self.soup > 1 or self.wise_ft):
            raise ValueError("'adapters' does not go with 'soup' or 'wise_ft', which average weights")
        if self.only != "all" and self.groups:
            raise ValueError("'only' does not go with 'groups': name the patterns themselves")
        if self.head.kind == "on_top" and (self.cut or self.insert):
            raise ValueError("'head: on_top' keeps the old classifier, which 'cut' and 'insert' take away")
        if self.frozen_precision == "bfloat16" and self.precision == "float32":
            raise ValueError("'frozen_precision: bfloat16' does not go with 'precision: float32'")
        last = max((int(after) for after in self.milestones or ()), default=0)
        if last >= self.epochs:
            raise ValueError(f"the milestone after {last} epochs is never reached in {self.epochs} ('epochs')")
        if self.micro_batch and self.micro_batch > self.batch_size:
            raise ValueError(f"'micro_batch' ({self.micro_batch}) is a part of 'batch_size' ({self.batch_size})")
        if self.processes > (self.micro_batch or self.batch_size):
            divided = "micro_batch" if self.micro_batch else "batch_size"
            raise ValueError(f"'processes' ({self.processes}) divide '{divided}', which has fewer images")
        return self

    @model_validator(mode="after")
    def _solves_linear_heads(self) -> "StrategyParams":
        solved = [phase for phase in self.phases if (phase.solver or self.solver) == "lbfgs"]
        if not solved and (self.phases or self.solver != "lbfgs"):
            return self
        if any(phase.epochs for phase in solved):
            raise ValueError("a phase with 'solver: lbfgs' is solved in one go and has no 'epochs'")
        if self.head.kind != "linear" or self.head.dropout:
            raise ValueError("'solver: lbfgs' solves a linear head without dropout: leave 'head' out")
        if self.sampling == "balanced":
            raise ValueError(
                "'solver: lbfgs' draws no images, balanced or not: write 'class_weights: true' for the same end"
            )
        after = [later for phase, later in zip(self.phases, self.phases[1:], strict=False) if phase in solved]
        if any(phase.continues for phase in after):
            raise ValueError(
                "after a phase with 'solver: lbfgs' there is no schedule to continue: leave 'continues' out"
            )
        trains = [selector for phase in solved for selector in phase.train] or list(self.train or ())
        if set(trains) != {"head"} or self.insert or self.adapters or self.only != "all" or self.groups:
            raise ValueError("'solver: lbfgs' is for phases in which the head alone trains: write 'train: head'")
        return self

    @model_validator(mode="after")
    def _corrects_class_frequencies_once(self) -> "StrategyParams":
        corrections = {
            "class_weights: true": self.class_weights,
            "sampling: balanced": self.sampling == "balanced",
            "logit_adjustment": self.logit_adjustment > 0,
        }
        chosen = [f"'{name}'" for name, is_on in corrections.items() if is_on]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} correct for the same class frequencies: keep one of them")
        return self

    @property
    def treats_classes_alike(self) -> bool:
        """Whether a rare class is to count as much as a frequent one."""
        return self.class_weights or self.sampling == "balanced" or self.logit_adjustment > 0

    @property
    def updates_statistics(self) -> bool:
        """Whether BatchNorm layers that train update their statistics."""
        return self.batchnorm == "train"

    def schedule(self) -> tuple[PhaseParams, ...]:
        """Return the phases with every value filled in; ``gradual`` is left to the network's plan."""
        if self.milestones:
            return self._between_milestones()
        phases = self.phases or (PhaseParams(train=self.train or ("all",)),)
        return tuple(self._filled_in(phase) for phase in phases)

    def _filled_in(self, phase: PhaseParams) -> PhaseParams:
        solver = phase.solver or self.solver
        epochs = 1 if solver == "lbfgs" else phase.epochs or self.epochs
        rate = self.lr if phase.lr is None else phase.lr
        return phase.model_copy(update={"solver": solver, "epochs": epochs, "lr": rate})

    def _between_milestones(self) -> tuple[PhaseParams, ...]:
        starts = sorted((int(after), selectors) for after, selectors in (self.milestones or {}).items())
        phases: list[PhaseParams] = []
        trains: tuple[str, ...] = ()
        for (after, selectors), until in zip(starts, [*(s for s, _ in starts[1:]), self.epochs], strict=True):
            trains += selectors
            phases.append(PhaseParams(train=trains, epochs=until - after, lr=self.lr, continues=bool(phases)))
        return tuple(phases)


class CompareParams(_Section):
    """How strategies are compared.

    Attributes:
        metric: what chooses the champion; read on the validation split.
        confidence: of the intervals, and of what is called a difference.
        resamples: of the images, for the intervals.
        permutations: of the labels, for what would be scored by chance.
        robustness_images: validation images, at most, that a strategy answers under each of 25 corruptions; 0: none.
        seed: of all these draws.
        max_ece: expected calibration error on validation that a champion may have.
        max_drop: share of its score that a champion may lose on corrupted images (the mean over ``robustness_images``).
        min_group: ``metric`` that a champion must reach on every group of 20 validation images or more.
    """

    metric: Literal["accuracy", "balanced_accuracy", "macro_f1", "auroc", "average_precision"] = "auroc"
    confidence: float = Field(0.95, gt=0.5, lt=1)
    resamples: int = Field(2000, ge=100, le=100_000)
    permutations: int = Field(200, ge=100, le=100_000)
    robustness_images: int = Field(50, ge=0, le=100_000)
    seed: int = 0
    max_ece: float | None = Field(None, ge=0, le=1)
    max_drop: float | None = Field(None, ge=0, le=1)
    min_group: float | None = Field(None, ge=0, le=1)

    @model_validator(mode="after")
    def _measures_what_it_limits(self) -> "CompareParams":
        if self.max_drop is not None and not self.robustness_images:
            raise ValueError("'max_drop' is measured on 'robustness_images': let there be some")
        return self


class RetrainParams(_Section):
    """When a retrained model takes the champion's place, and what else a retraining does (``flows.retrain``).

    Attributes:
        rule: ``better``: the challenger must be better by more than noise; ``not_worse``: it is enough that it is not
            worse, as far as the test images tell, and surely by less than ``margin``: newer images for the same score.
        margin: of ``not_worse``, in the metric of ``compare``.
        confidence: of the intervals and tests that say what is noise.
        resamples: of the test images.
        min_images: test images, new to the champion, without which nothing is decided and the champion stays.
        part_images: images that a class, a ``subset`` or the earlier images must have to be asked for themselves.
        max_part_drop: accuracy that none of these may lose.
        max_ece_rise: by which the expected calibration error may rise.
        max_slowdown: times as long as before that an image may take.
        drift_confidence: from which on a difference between new images and known ones is warned of.
        update: bring the newest images first: ``dvc update`` where they were imported, else ``dvc pull``.
        push: ``dvc push`` what a retraining made.
        commit: commit ``dvc.lock``, and the metrics that git keeps, of a retraining.
    """

    rule: Literal["better", "not_worse"] = "better"
    margin: float = Field(0.01, ge=0, lt=1)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    resamples: int = Field(2000, ge=100, le=100_000)
    min_images: int = Field(20, ge=2)
    part_images: int = Field(20, ge=2)
    max_part_drop: float = Field(0.05, ge=0, le=1)
    max_ece_rise: float = Field(0.05, ge=0, le=1)
    max_slowdown: float = Field(1.5, ge=1)
    drift_confidence: float = Field(0.99, gt=0.5, lt=1)
    update: bool = False
    push: bool = False
    commit: bool = False


class RunParams(_Section):
    """How the strategies are trained, which changes no result and makes nothing stale.

    Attributes:
        ray: a Ray cluster: ``auto``, the one that this machine belongs to; ``HOST:6379``, the same by its address;
            ``ray://HOST:10001``, one that this machine need not belong to; ``local``, one that is started on this
            machine for the run. None: in this process, one after the other.
        checkpoint_seconds: of training that a process which is killed loses at most; where writing a checkpoint takes
            more than a twentieth of it, 20 times what it takes. 0: one is written behind every step.
    """

    ray: str | None = None
    checkpoint_seconds: float = Field(15.0, ge=0)

    @field_validator("ray")
    @classmethod
    def _is_an_address(cls, address: str | None) -> str | None:
        if address is None or address in {"auto", "local"}:
            return address
        found = RAY_ADDRESS.fullmatch(address)
        if not found or not 0 < int(found["port"]) < 65536:
            raise ValueError(
                f"'{address}' is no Ray cluster: write auto, local, an address such as 10.0.0.1:6379, or "
                "ray://10.0.0.1:10001"
            )
        return address


class Params(_Section):
    """All of ``params.yaml``."""

    data: DataParams
    split: SplitParams = SplitParams()
    backbone: BackboneParams = BackboneParams()
    augment: AugmentParams = AugmentParams()
    train: SharedParams = SharedParams()
    compare: CompareParams = CompareParams()
    retrain: RetrainParams = RetrainParams()
    run: RunParams = RunParams()
    strategies: dict[str, StrategyParams] = Field(min_length=1)

    def strategy(self, name: str) -> StrategyParams:
        """Return a strategy by name.

        Raises:
            UserError: there is none of that name.
        """
        if name not in self.strategies:
            raise UserError(f"params.yaml: there is no strategy '{name}'{nearest(name, self.strategies)}")
        return self.strategies[name]


def must_have_sections(source: Path = Path("params.yaml")) -> None:
    """Refuse a file that leaves out a section with defaults, which DVC looks for; an empty one is enough for it.

    Raises:
        UserError: it does, or is none that ``load_params`` takes.
    """
    load_params(source)
    left_out = [name for name in READ_BY_DVC if name not in YAML(typ="safe").load(source)]
    if left_out:
        lines = " and ".join(f"'{name}: {{}}'" for name in left_out)
        raise UserError(
            f"{source} leaves out {' and '.join(left_out)}, and DVC runs no stage whose params are not there: add the "
            f"lines {lines}, which stand for the defaults"
        )


def load_params(source: Path = Path("params.yaml")) -> Params:
    """Read and check ``params.yaml``.

    Raises:
        UserError: the file is missing, is not YAML, or holds a key or value that is not understood.
    """
    if not source.is_file():
        raise UserError(f"there is no {source} here: run the command at the root of the repository")
    try:
        raw = YAML(typ="safe").load(source)
    except (YAMLError, ValueError) as error:  # ValueError: a date that the calendar lacks
        detail = " ".join(str(error).split())
        raise UserError(f"{source} is not valid YAML: {detail}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{source} must be a mapping of sections (data, strategies, …)")
    return _validated(raw, source)


def _validated(raw: dict[str, Any], source: Path) -> Params:
    merged = dict(raw)
    shared, strategies = raw.get("train") or {}, raw.get("strategies")
    if isinstance(strategies, dict):
        for name in strategies:
            if not STRATEGY_NAME.fullmatch(str(name)):
                raise UserError(
                    f"{source}: strategies: '{name}' cannot name a strategy: use letters, digits, _ and - (64 at most)"
                )
        if isinstance(shared, dict):
            known = {key: value for key, value in shared.items() if key in TrainParams.model_fields}
            merged["strategies"] = {
                str(name): {**known, **own} if isinstance(own, dict) else own for name, own in strategies.items()
            }
    try:
        return Params.model_validate(merged)
    except ValidationError as error:
        messages = dict.fromkeys(_sentence(detail) for detail in error.errors())
        raise UserError(f"{source}: " + "; ".join(messages)) from error


def _sentence(detail: ErrorDetails) -> str:
    location = list(detail["loc"])
    where = ".".join(str(part) for part in location) or "the file"
    if detail["type"] == "extra_forbidden":
        parent = _section_at(location[:-1])
        return f"'{where}' is not a known key{nearest(str(location[-1]), parent.model_fields)}"
    if detail["type"] == "missing":
        return f"'{where}' is missing"
    message = detail["msg"].removeprefix("Value error, ")
    return f"'{where}': {message[0].lower() + message[1:]}"


def _section_at(location: list[str | int]) -> type[BaseModel]:
    if location[:1] == ["strategies"]:
        location = location[2:]  # a strategy may have the name of a section
        section: type[BaseModel] = StrategyParams
    else:
        section = Params
    for part in location:
        if section is StrategyParams and part == "phases":
            section = PhaseParams
        elif isinstance(part, str) and part in section.model_fields:
            annotation = section.model_fields[part].annotation
            for kind in (annotation, *get_args(annotation)):
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    section = kind
    return section
