"""``params.yaml`` as a whole: an unknown or misspelt key is an error that names the nearest one."""

import re
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from tasks.errors import UserError, nearest, one_line
from tasks.params.augment import AugmentParams
from tasks.params.backbone import BackboneParams, NetworkParams
from tasks.params.compare import CompareParams
from tasks.params.data import DataParams
from tasks.params.retrain import RetrainParams
from tasks.params.run import RunParams
from tasks.params.screen import ScreenParams
from tasks.params.section import Section
from tasks.params.split import SplitParams
from tasks.params.strategies import StrategyParams
from tasks.params.train import SharedParams, TrainParams

# sections of dvc.yaml that have defaults
READ_BY_DVC = ("split", "backbone", "backbones", "screen", "augment", "train", "compare")
STRATEGY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
NETWORK_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")  # without -, which joins it with a strategy's in the name of a stage


class Params(Section):
    """All of ``params.yaml``."""

    data: DataParams
    """Where the images come from and how they are read."""

    split: SplitParams = SplitParams()
    """Which images are held out."""

    backbone: BackboneParams = BackboneParams()
    """The pretrained network."""

    backbones: dict[str, NetworkParams] = Field({})
    """Further networks that compete with ``backbone``, by name: letters, digits and ``_``, 64 at most. Without
    ``backbone`` they compete among themselves."""

    screen: ScreenParams = ScreenParams()
    """Which of several networks are fine-tuned."""

    augment: AugmentParams = AugmentParams()
    """Random changes of the training images."""

    train: SharedParams = SharedParams()
    """What all strategies share; each may override most of it."""

    compare: CompareParams = CompareParams()
    """How strategies are compared."""

    retrain: RetrainParams = RetrainParams()
    """When a retrained model takes the champion's place."""

    run: RunParams = RunParams()
    """Where the strategies are trained; changes no result."""

    strategies: dict[str, StrategyParams] = Field(min_length=1)
    """The ways of fine-tuning, by name: letters, digits, ``_`` and ``-``, 64 at most."""

    @property
    def networks(self) -> dict[str, BackboneParams]:
        """The networks that compete: ``backbone``, whose name is empty here, and those of ``backbones``."""
        return {**({"": self.backbone} if self.has_backbone else {}), **self.backbones}

    @property
    def has_backbone(self) -> bool:
        """Whether ``backbone`` competes: it is named, or there is no other."""
        return not self.backbones or bool(self.backbone.model_fields_set)

    @property
    def candidates(self) -> dict[str, StrategyParams]:
        """What competes: ``STRATEGY`` of the backbone, ``NETWORK/STRATEGY`` of a further network."""
        return {
            candidate_of(network, name): _as_on(network, params, name, settings)
            for network, params in self.networks.items()
            for name, settings in self.strategies.items()
        }

    def strategy(self, name: str) -> StrategyParams:
        """Return what competes under a name.

        Raises:
            UserError: nothing does.
        """
        candidates = self.candidates
        if name not in candidates:
            raise UserError(f"params.yaml: there is no strategy '{name}'{nearest(name, candidates)}")
        return candidates[name]

    def network(self, name: str) -> BackboneParams:
        """Return a network by name.

        Raises:
            UserError: there is none of that name.
        """
        if name not in self.networks:
            raise UserError(f"params.yaml: there is no network '{name}'{nearest(name, self.networks)}")
        return self.networks[name]

    def title(self, candidate: str) -> str:
        """Return a candidate's name for people: with its network's where several compete."""
        is_of_backbone = self.backbones and self.has_backbone and "/" not in candidate
        return f"{self.network_title('')}/{candidate}" if is_of_backbone else candidate

    def network_title(self, network: str) -> str:
        """Return a network's name for people; that of the backbone is the last word of its ``name``."""
        return network or re.split(r"[/:]", self.backbone.name.removesuffix(".onnx"))[-1]

    def candidate(self, title: str) -> str:
        """Return the candidate that people know under a title."""
        return title.removeprefix(f"{self.network_title('')}/") if self.backbones and self.has_backbone else title


def load_params(source: Path = Path("params.yaml")) -> Params:
    """Read and check ``params.yaml``.

    Raises:
        UserError: the file is missing, is not YAML, or holds a key or value that is not understood.
    """
    content = _read(source)
    try:
        params = Params.model_validate(_with_shared_settings(content, source))
    except ValidationError as error:
        sentences = dict.fromkeys(_sentence(detail) for detail in error.errors())
        raise UserError(f"{source}: " + "; ".join(sentences)) from error
    if params.backbones:
        _check_networks(params, source)
    return params


def must_have_sections(source: Path = Path("params.yaml")) -> None:
    """Refuse a file that leaves out a section with defaults, which DVC looks for; an empty one is enough for it.

    Raises:
        UserError: it does, or is none that ``load_params`` takes.
    """
    load_params(source)
    content = _read(source)
    left_out = [name for name in READ_BY_DVC if name not in content]
    if left_out:
        lines = " and ".join(f"'{name}: {{}}'" for name in left_out)
        raise UserError(
            f"{source} leaves out {' and '.join(left_out)}, and DVC runs no stage whose params are not there: add the "
            f"lines {lines}, which stand for the defaults"
        )


def candidate_of(network: str, strategy: str) -> str:
    """Return the name of a strategy on a network; that of the backbone is empty."""
    return f"{network}/{strategy}" if network else strategy


def _as_on(network: str, params: BackboneParams, name: str, settings: StrategyParams) -> StrategyParams:
    """Return a strategy as it is on a network.

    Raises:
        UserError: what the network says of it is not understood.
    """
    otherwise = params.strategies.get(name) if isinstance(params, NetworkParams) else None
    if not otherwise:
        return settings
    try:
        return StrategyParams.model_validate(settings.model_dump(exclude_unset=True) | otherwise)
    except ValidationError as error:
        place = ("strategies", name)
        sentences = [_sentence({**detail, "loc": (*place, *detail["loc"])}) for detail in error.errors()]
        raise UserError(f"params.yaml: backbones.{network}: {'; '.join(dict.fromkeys(sentences))}") from error


def _check_networks(params: Params, source: Path) -> None:
    """Check what several networks say together.

    Raises:
        UserError: a name that can't be used, or that is used twice, a strategy that there isn't, or more to be kept
            than there are.
    """
    strategies, titles = params.strategies, [params.network_title(network) for network in params.networks]
    for name, network in params.backbones.items():
        if not NETWORK_NAME.fullmatch(name):
            raise UserError(
                f"{source}: backbones: '{name}' cannot name a network: use letters, digits and _ (64 at most)"
            )
        if name in strategies or titles.count(name) > 1:
            other = "a strategy" if name in strategies else "the network of 'backbone'"
            raise UserError(f"{source}: backbones: '{name}' is the name of {other}, too: give the network another name")
        for strategy in network.strategies:
            if strategy not in strategies:
                place = f"{source}: backbones.{name}.strategies"
                raise UserError(f"{place}: there is no strategy '{strategy}'{nearest(strategy, strategies)}")
    keep, count = params.screen.keep, len(titles)
    if "keep" in params.screen.model_fields_set and keep > count:
        raise UserError(f"{source}: 'screen.keep' is {keep}, and there are {count} networks: keep so many at most")
    _ = params.candidates  # whose settings are checked as they are made


def section_of(annotation: Any) -> type[Section] | None:
    """Return the section that a key of this type holds: by itself, or none, or many in a list or by name."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def _read(source: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not source.is_file():
        raise UserError(f"there is no {source} here: run the command at the root of the repository")
    try:
        content = YAML(typ="safe").load(source)
    except (YAMLError, ValueError) as error:  # ValueError: a date that the calendar lacks
        raise UserError(f"{source} is not valid YAML: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{source} must be a mapping of sections (data, strategies, …)")
    return content


def _with_shared_settings(content: dict[str, Any], source: Path) -> dict[str, Any]:
    """Return the sections with what ``train`` says put into every strategy that doesn't say otherwise."""
    strategies, train = content.get("strategies"), content.get("train") or {}
    if not isinstance(strategies, dict):
        return content
    for name in strategies:
        if not STRATEGY_NAME.fullmatch(str(name)):
            raise UserError(
                f"{source}: strategies: '{name}' cannot name a strategy: use letters, digits, _ and - (64 at most)"
            )
    if not isinstance(train, dict):
        return content
    shared = {key: value for key, value in train.items() if key in TrainParams.model_fields}
    return content | {
        "strategies": {
            str(name): shared | settings if isinstance(settings, dict) else settings
            for name, settings in strategies.items()
        }
    }


def _sentence(detail: ErrorDetails) -> str:
    location = detail["loc"]
    where = ".".join(str(part) for part in location) or "the file"
    if detail["type"] == "extra_forbidden":
        return f"'{where}' is not a known key{nearest(str(location[-1]), _section_at(location[:-1]).model_fields)}"
    if detail["type"] == "missing":
        return f"'{where}' is missing"
    message = detail["msg"].removeprefix("Value error, ")
    return f"'{where}': {message[0].lower() + message[1:]}"


def _section_at(location: tuple[int | str, ...]) -> type[Section]:
    section: type[Section] = Params
    parts = iter(location)
    for part in parts:
        annotation = section.model_fields[str(part)].annotation
        inner = section_of(annotation)
        if inner is None:
            break
        section = inner
        if get_origin(annotation) in {dict, tuple}:
            next(parts, None)  # the name that the user gave, which may be that of a key, or the place in the list
    return section
