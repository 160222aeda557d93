"""What a library of networks must be able to do, such as torchvision, timm, or the user's own code."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from tasks.backbones.architecture import Architecture, State
from tasks.backbones.key_matching import Converted
from tasks.errors import UserError
from tasks.params import BackboneParams, PartsParams


@dataclass(frozen=True)
class WeightsFile:
    """A verified file of weights, and what is known about it."""

    file: Path
    source: str
    licence: str
    notes: tuple[str, ...] = ()


def _as_they_are(params: BackboneParams) -> BackboneParams:
    return params


def _no_files(_: str) -> list[Path]:
    return []


def _no_named_weights(params: BackboneParams, _: Architecture) -> WeightsFile:
    raise UserError(
        f"params.yaml: backbone.weights '{params.weights}': an architecture of your own takes its weights from a "
        "file (.pth, .pt or .safetensors), or has random ones with 'none'"
    )


def _nothing(*_: str) -> str:
    return ""


def _not_known(_: BackboneParams) -> None:
    return None


def _under_its_own_names(_: str, state: State, __: nn.Module, ___: int) -> Converted:
    return Converted(state)


@dataclass(frozen=True)
class Library:
    """Where networks come from; the functions take the name of a network that it has.

    Attributes:
        has: tells by a name, as in ``backbone.name``, whether it is of this library.
        find: describes a network, with the parts that the user states for it, if any. Raises ``UserError``.
        named_weights: gets the verified file of the weights that ``backbone.weights`` names, where that is no file of
            the user's. Raises ``UserError``, and ``UnavailableError`` where no source has them.
        packages: what has to be installed besides torch and torchvision.
        files: the user's files that the network is made from. Raises ``UserError``.
        code_sha256: a digest of those files; empty without any. Raises ``UserError``.
        resolve: says in params what they leave open, such as the default weights of a network.
        known_digest: the SHA-256, or the beginning of it, that a user's file of weights must have because of its name.
        convert: puts the weights of a file into the names and shapes of a network for a working size. Raises anything
            for a file that doesn't fit.
        own_state: reads the weights for a working size where they are in the network's own file.
        random_source: what is said of random weights.
        accuracy: published, of a network's weights on ImageNet-1k, from 0 to 1; None: not known.
    """

    has: Callable[[str], bool]
    find: Callable[[str, PartsParams | None], Architecture]
    named_weights: Callable[[BackboneParams, Architecture], WeightsFile] = _no_named_weights
    packages: tuple[str, ...] = ()
    files: Callable[[str], list[Path]] = _no_files
    code_sha256: Callable[[str], str] = _nothing
    resolve: Callable[[BackboneParams], BackboneParams] = _as_they_are
    known_digest: Callable[[str, str], str] = _nothing
    convert: Callable[[str, State, nn.Module, int], Converted] = _under_its_own_names
    own_state: Callable[[str, int], State] | None = None
    random_source: str = "random"
    accuracy: Callable[[BackboneParams], float | None] = _not_known
