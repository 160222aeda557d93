"""``params.yaml``, typed: an unknown or misspelt key is an error that names the nearest one."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tasks.errors import UserError, nearest

PRETRAINING_RATE = re.compile(r"pretraining\s*(?:/\s*(?P<divisor>\d+(?:\.\d+)?))?")
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
    if not 0 < rate <= 100:
        raise ValueError(f"'{value}' is not a learning rate (a number over 0, or pretraining/10)")
    return rate


Rate = Annotated[float | str, BeforeValidator(_as_rate)]
Selectors = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]


class DataParams(_Section):
    """Where the images come from and how they are read.

    Attributes:
        source: ``elpv`` (the packaged solar cells) or ``folder`` (a folder a class).
        path: the folder that is read; for ``elpv`` the place where its images are put.
        size: working height and width in pixels; every image is resized to ``size`` x ``size``.
        channels: 1 (grey), 3 (RGB), or ``auto``: 1 if every image is grey, else 3.
        upright: whether the images have an up; decides which flips and turns are harmless. ``auto``: not for
            ``elpv``, but for a folder.
        defective_over: ``elpv`` only: a defect probability above this is labelled ``defective``.
        max_unreadable: the largest share of unreadable images that a run tolerates.
        max_pixels: images with more pixels than this are not decoded (decompression bombs).
    """

    source: Literal["elpv", "folder"]
    path: str = Field(min_length=1)
    size: int = Field(224, ge=16, le=2048)
    channels: Literal["auto", 1, 3] = "auto"
    upright: Literal["auto", True, False] = "auto"
    defective_over: float = Field(0.5, ge=0, lt=1)
    max_unreadable: float = Field(0.05, ge=0, le=1)
    max_pixels: int = Field(100_000_000, gt=0)


class SplitParams(_Section):
    """Shares of the images held out; what remains is trained on."""

    validation: float = Field(0.15, gt=0, lt=1)
    test: float = Field(0.25, gt=0, lt=1)
    seed: int = 0

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> "SplitParams":
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave nothing to train on (their sum must be below 1)")
        return self


class BackboneParams(_Section):
    """The pretrained network.

    Attributes:
        name: a torchvision classification model.
        weights: a torchvision weights name, a file (``.pth`` or ``.safetensors``), or ``none`` for random weights.
        sha256: the digest that the weights file must have; checked before the file is read.
    """

    name: str = "mobilenet_v2"
    weights: str = "IMAGENET1K_V1"
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None


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

    Attributes:
        device: ``auto`` takes CUDA where there is one, else the CPU.
        precision: ``auto`` takes bfloat16 autocast where the device gains from it, else float32.
        epochs: epochs of a phase that does not say otherwise.
        lr: peak learning rate; ``pretraining/10`` is a tenth of the rate the weights were trained with.
        warmup: share of a phase's steps over which the rate rises linearly; a cosine to zero follows.
        batchnorm: ``frozen`` keeps the pretrained statistics in layers that train, ``train`` updates them.
        class_weights: weigh the loss by inverse class frequency.
        patience: epochs of the last phase without a better validation loss before training stops early.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0
    epochs: int = Field(6, ge=1, le=10_000)
    batch_size: int = Field(16, ge=1, le=4096)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Rate = 1e-4
    weight_decay: float = Field(0.01, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    warmup: float = Field(0.1, ge=0, lt=1)
    batchnorm: Literal["frozen", "train"] = "frozen"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    class_weights: bool = False
    clip_norm: float = Field(0.0, ge=0)
    patience: int = Field(5, ge=1)


class HeadParams(_Section):
    """What replaces the classifier: one linear layer, or the old classifier with two new layers on top of it."""

    kind: Literal["linear", "on_top"] = "linear"
    hidden: int = Field(256, ge=1)


class PhaseParams(_Section):
    """Some epochs in which the same parts train at the same peak rate; unset values are the strategy's."""

    train: Selectors
    epochs: int | None = Field(None, ge=1)
    lr: Rate | None = None


class StrategyParams(TrainParams):
    """One way of fine-tuning: the shared settings, what trains, and in which order.

    Attributes:
        start: ``pretrained`` or ``random`` weights.
        train: what trains: ``all``, ``stem``, ``stages``, ``head``, or a slice of stages such as ``stages[3:]``.
        phases: several of these one after the other, instead of ``train``.
    """

    start: Literal["pretrained", "random"] = "pretrained"
    head: HeadParams = HeadParams()
    train: Selectors | None = None
    phases: tuple[PhaseParams, ...] = ()

    @model_validator(mode="after")
    def _says_what_trains(self) -> "StrategyParams":
        if (self.train is None) == (not self.phases):
            raise ValueError("says what trains with either 'train' or 'phases'")
        return self

    @property
    def updates_statistics(self) -> bool:
        """Whether BatchNorm layers that train update their statistics."""
        return self.batchnorm == "train"

    def schedule(self) -> tuple[PhaseParams, ...]:
        """Return the phases with every value filled in."""
        phases = self.phases or (PhaseParams(train=self.train or ("all",)),)
        return tuple(
            PhaseParams(train=p.train, epochs=p.epochs or self.epochs, lr=self.lr if p.lr is None else p.lr)
            for p in phases
        )


class CompareParams(_Section):
    """How strategies are compared; ``metric`` is read on the validation split."""

    metric: Literal["accuracy", "balanced_accuracy", "macro_f1", "auroc", "average_precision"] = "auroc"
    confidence: float = Field(0.95, gt=0.5, lt=1)
    resamples: int = Field(2000, ge=100, le=100_000)
    seed: int = 0


class Params(_Section):
    """All of ``params.yaml``."""

    data: DataParams
    split: SplitParams = SplitParams()
    backbone: BackboneParams = BackboneParams()
    augment: AugmentParams = AugmentParams()
    train: TrainParams = TrainParams()
    compare: CompareParams = CompareParams()
    strategies: dict[str, StrategyParams] = Field(min_length=1)

    def strategy(self, name: str) -> StrategyParams:
        """Return a strategy by name.

        Raises:
            UserError: there is none of that name.
        """
        if name not in self.strategies:
            raise UserError(f"params.yaml: there is no strategy '{name}'{nearest(name, self.strategies)}")
        return self.strategies[name]


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
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                section = annotation
    return section
