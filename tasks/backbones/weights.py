"""Weights: retrieved from the first source that has them, matched with their network, and kept with a record."""

from collections import OrderedDict
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from tasks.backbones import catalogue, downloads, key_matching, unwrapping, weights_files
from tasks.backbones.architecture import Architecture, State
from tasks.backbones.key_matching import LoadReport
from tasks.backbones.library import Library, WeightsFile
from tasks.backbones.tensor_file import write_tensors
from tasks.backbones.weights_files import is_weights_file
from tasks.errors import LONGEST, UserError, one_line
from tasks.files import read_json, sha256_of, write_json
from tasks.params import BackboneParams, PartsParams


@dataclass(frozen=True)
class WeightsRecord:
    """Where weights came from and how they were trained.

    Attributes:
        name: of the network; for timm with the pretrained tag.
        source: the file, address or package they were read from; ``random`` for ``weights: none``.
        sha256: of the original file; of nothing for random weights.
        mean, std: input statistics of the pretraining, for pixels in [0, 1].
        size: working height and width in pixels, which position embeddings were made for.
        optimizer, lr, batch_size: the pretraining's recipe, as far as it is known.
        parts: what the layers are for, where the user states it.
        report: which tensors came from the file; see ``LoadReport``.
        code_sha256: digest of the source of the user's own architecture, or of the ONNX file that has it.
        accuracy: published, of the first answer on ImageNet-1k, from 0 to 1; None: not known.
        left_out: why there are no weights, so that the network doesn't compete; empty: there are.
    """

    name: str
    weights: str
    source: str
    sha256: str
    licence: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    optimizer: str | None
    lr: float | None
    batch_size: int | None
    parts: dict[str, Any] | None = None
    report: dict[str, Any] = field(default_factory=dict)
    code_sha256: str = ""
    accuracy: float | None = None
    left_out: str = ""

    @classmethod
    def read(cls, source: Path) -> "WeightsRecord":
        """Read a record that ``store`` wrote."""
        return cls.of(read_json(source))

    @classmethod
    def of(cls, content: dict[str, Any]) -> "WeightsRecord":
        """Return the record whose fields, as plain data, these are."""
        return cls(**content | {"mean": tuple(content["mean"]), "std": tuple(content["std"])})

    def architecture(self) -> Architecture:
        """Return the description of the network that the weights are for.

        Raises:
            UserError: the network is no longer to be had.
        """
        return catalogue.find(self.name, PartsParams.model_validate(self.parts) if self.parts else None)

    def lines(self) -> list[str]:
        """Return which tensors came from the file as text, a line a fact."""
        return LoadReport.of(self.report).lines() if self.report else []


def retrieve(params: BackboneParams, size: int) -> tuple[State, WeightsRecord]:
    """Return the verified weights of a backbone and their record.

    Args:
        params: which network and weights.
        size: working size in pixels, to which position embeddings are interpolated.

    Raises:
        UserError: an unknown network, a size that it doesn't take, a wrong digest, or a file that doesn't fit.
        UnavailableError: no source has the weights; lists what was tried.
    """
    library = catalogue.library_of(params.name)
    params = library.resolve(params)
    architecture = library.find(params.name, params.parts)
    if params.weights == "none":
        if params.leave_out:
            raise UserError("params.yaml: backbone.leave_out is about a weights file, where backbone.weights is 'none'")
        state = _drawn(architecture, size).state_dict()
        return state, _record(params, architecture, size, library.random_source, "none")
    given = _weights_file(library, params, architecture)
    state, report = _matched(given, library, params, architecture, size)
    record = _record(params, architecture, size, given.source, given.licence)
    return state, replace(record, sha256=sha256_of(given.file), report=report.content())


def left_out(params: BackboneParams, reason: str) -> WeightsRecord:
    """Return the record of a network that doesn't compete."""
    return WeightsRecord(
        name=params.name, weights=params.weights, source=f"left out: {reason}", sha256="", licence="", mean=(), std=(),
        size=0, optimizer=None, lr=None, batch_size=None, left_out=reason,
    )  # fmt: skip


def store(state: State, record: WeightsRecord, weights_file: Path, record_file: Path) -> None:
    """Write weights as safetensors and their record as JSON."""
    save(state, weights_file)
    write_json(record_file, asdict(record))


def save(state: State, target: Path) -> None:
    """Write a state dict as safetensors, whole or not at all; tensors that share memory are written each."""
    content: State = {}
    memory: set[int] = set()
    for name, tensor in state.items():
        place = tensor.untyped_storage().data_ptr()
        content[name] = tensor.clone(memory_format=torch.contiguous_format) if place in memory else tensor.contiguous()
        memory.add(place)
    write_tensors(target, content)


def fill(model: nn.Module, state: State) -> None:
    """Give a network all of its tensors, by name.

    Networks that ask for the version of a saved state (MNASNet) get their own: safetensors keeps none.

    Raises:
        RuntimeError: a name or a shape differs.
    """
    versioned = OrderedDict(state)
    versioned._metadata = getattr(model.state_dict(), "_metadata")  # type: ignore[attr-defined]  # noqa: B009
    model.load_state_dict(versioned)


def load(source: Path) -> State:
    """Read a safetensors file.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return dict(safetensors.torch.load_file(source))
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{source} is missing or damaged: remove it and run 'dvc repro'") from error


def file_of(params: BackboneParams) -> Path | None:
    """Return the user's own file of weights, if params name one."""
    given = Path(params.weights).expanduser()
    return given if is_weights_file(params.weights) and given.is_file() else None


def _weights_file(library: Library, params: BackboneParams, architecture: Architecture) -> WeightsFile:
    if not is_weights_file(params.weights):
        return library.named_weights(params, architecture)
    file = Path(params.weights).expanduser()
    if not file.is_file():
        raise UserError(f"params.yaml: backbone.weights {file} does not exist")
    downloads.verified(file, params.sha256 or library.known_digest(params.name, file.name))
    return WeightsFile(file, file.name, "that of the file given")


def _matched(
    given: WeightsFile, library: Library, params: BackboneParams, architecture: Architecture, size: int
) -> tuple[State, LoadReport]:
    """Return a network's weights, as far as a file has them, and which of them it has."""
    where = f"the weights file {given.file} does not fit {params.name}"
    model = _drawn(architecture, size)
    drawn = model.state_dict()
    if library.own_state and params.weights == params.name:
        states = {"": library.own_state(params.name, size)}
    else:
        states = weights_files.candidates(given.file)
    state, notes = unwrapping.chosen(states, drawn)
    leave_out = params.leave_out or ()
    dropped = {name: tensor for name, tensor in state.items() if key_matching.matches(leave_out, name)}
    kept = {name: tensor for name, tensor in state.items() if name not in dropped}
    try:
        converted = library.convert(params.name, kept, model, size)
    except Exception as error:  # whatever a conversion stumbles over in a file that it isn't made for
        raise UserError(f"{where}: {one_line(error, LONGEST)}") from error
    converted = replace(converted, state={**dropped, **converted.state}, notes=(*given.notes, *notes, *converted.notes))
    return key_matching.match_keys(converted, drawn, leave_out, where, architecture.head)


def _drawn(architecture: Architecture, size: int) -> nn.Module:
    """Return the network with random weights, the same on each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return architecture.build(size)


def _record(params: BackboneParams, architecture: Architecture, size: int, source: str, licence: str) -> WeightsRecord:
    recipe = architecture.recipe
    return WeightsRecord(
        name=params.name,
        weights=params.weights,
        source=source,
        sha256="",
        licence=licence,
        mean=params.mean or architecture.mean,
        std=params.std or architecture.std,
        size=size,
        optimizer=recipe.optimizer if recipe else None,
        lr=params.lr or (recipe.lr if recipe else None),
        batch_size=recipe.batch_size if recipe else None,
        parts=params.parts.model_dump(mode="json") if params.parts else None,
        code_sha256=catalogue.code_sha256(params.name),
        accuracy=catalogue.library_of(params.name).accuracy(params),
    )
