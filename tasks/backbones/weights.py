"""Weights: retrieved from the first source that has them, fitted to their network, and kept with a record."""

from collections import OrderedDict
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from tasks.backbones import catalogue, checkpoints, fitting, onnx_files, sources, timm_models, unwrapping, zoo
from tasks.backbones.architecture import Architecture
from tasks.backbones.fitting import Converted, LoadReport, State
from tasks.backbones.tensor_file import write_tensors
from tasks.errors import UserError
from tasks.files import read_json, sha256_of, write_json
from tasks.params import BackboneParams, PartsParams

FILE_SUFFIXES = {".pth", ".pt", ".safetensors"}


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


@dataclass(frozen=True)
class _Found:
    """A verified file, and what is known about it."""

    file: Path
    source: str
    licence: str
    notes: tuple[str, ...] = ()


def retrieve(params: BackboneParams, size: int) -> tuple[State, WeightsRecord]:
    """Return the verified weights of a backbone and their record.

    Args:
        params: which network and weights.
        size: working size in pixels, to which position embeddings are interpolated.

    Raises:
        UserError: an unknown network, a size that it doesn't take, a wrong digest, or a file that doesn't fit.
        UnavailableError: no source has the weights; lists what was tried.
    """
    params = _with_tag(params)
    if catalogue.is_onnx(params.name):
        params = _with_own_weights(params)
    architecture = catalogue.find(params.name, params.parts)
    if params.weights == "none":
        if params.leave_out:
            raise UserError("params.yaml: backbone.leave_out is about a weights file, where backbone.weights is 'none'")
        source = "as its own code draws them" if catalogue.is_own(params.name) else "random"
        return _drawn(architecture, size).state_dict(), _record(params, architecture, size, source, "none")
    found = _find(params, architecture)
    state, report = _fitted(found, params, architecture, size)
    record = _record(params, architecture, size, found.source, found.licence)
    return state, replace(record, sha256=sha256_of(found.file), report=report.content())


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


def _with_tag(params: BackboneParams) -> BackboneParams:
    """Put the pretrained tag that ``weights`` asks for into a name of timm's, as its metadata depend on it."""
    if not catalogue.is_timm(params.name) or params.weights == "none" or _is_file(params.weights):
        return params
    return params.model_copy(update={"name": timm_models.tagged(params.name, params.weights)})


def _with_own_weights(params: BackboneParams) -> BackboneParams:
    """Name an ONNX file as the place of its network's weights, unless there are others; verify it before it is read.

    Raises:
        UserError: the file has another digest than it must have, or weights are asked for that are not in a file.
    """
    file = Path(params.name).expanduser()
    if params.weights == "none" or (_is_file(params.weights) and params.weights != params.name):
        return params
    if "weights" in params.model_fields_set and params.weights != params.name:
        raise UserError(
            f"params.yaml: backbone.weights '{params.weights}': the weights of {params.name} are in that file itself: "
            "leave backbone.weights out, or say 'none' for random ones"
        )
    if file.is_file():
        sources.verified(file, params.sha256 or "")
    return params.model_copy(update={"weights": params.name})


def _find(params: BackboneParams, architecture: Architecture) -> _Found:
    if _is_file(params.weights):
        file = Path(params.weights).expanduser()
        if not file.is_file():
            raise UserError(f"params.yaml: backbone.weights {file} does not exist")
        sources.verified(file, params.sha256 or _known_digest(params.name, file))
        return _Found(file, file.name, "that of the file given")
    if catalogue.is_own(params.name):
        raise UserError(
            f"params.yaml: backbone.weights '{params.weights}': an architecture of your own takes its weights from a "
            "file (.pth, .pt or .safetensors), or has random ones with 'none'"
        )
    if catalogue.is_timm(params.name):
        repository = timm_models.repository(params.name)
        return _Found(*sources.from_huggingface(repository, params.sha256 or ""), architecture.licence)
    entry = zoo.default_weights(params.name, params.weights)
    return _Found(*sources.from_torchvision(entry, params.sha256 or ""), architecture.licence, zoo.notes_on(entry))


def _fitted(found: _Found, params: BackboneParams, architecture: Architecture, size: int) -> tuple[State, LoadReport]:
    where = f"the weights file {found.file} does not fit {params.name}"
    model = _drawn(architecture, size)
    drawn = model.state_dict()
    in_onnx = params.weights == params.name
    content = {"": onnx_files.state(params.name, size)} if in_onnx else checkpoints.candidates(found.file)
    state, notes = unwrapping.chosen(content, drawn)
    leave_out = params.leave_out or ()
    dropped = {name: tensor for name, tensor in state.items() if fitting.matches(leave_out, name)}
    try:
        converted = _converted(params.name, {name: state[name] for name in state if name not in dropped}, model, size)
    except Exception as error:  # whatever a conversion stumbles over in a file that it isn't made for
        raise UserError(f"{where}: {' '.join(str(error).split())[:200]}") from error
    converted = replace(converted, state={**dropped, **converted.state}, notes=(*found.notes, *notes, *converted.notes))
    return fitting.fit(converted, drawn, leave_out, where, architecture.head)


def _converted(name: str, state: State, model: nn.Module, size: int) -> Converted:
    if catalogue.is_own(name) or catalogue.is_onnx(name):
        return Converted(state)
    return timm_models.convert(name, state, model) if catalogue.is_timm(name) else zoo.convert(name, state, size)


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
    )


def file_of(params: BackboneParams) -> Path | None:
    """Return the user's own file of weights, if params name one."""
    given = Path(params.weights).expanduser()
    return given if _is_file(params.weights) and given.is_file() else None


def _is_file(weights: str) -> bool:
    given = Path(weights).expanduser()
    return given.suffix in FILE_SUFFIXES or given.is_file()


def _known_digest(name: str, file: Path) -> str:
    """Return the digest that a file must have because it has the name of one of torchvision's."""
    library = not (catalogue.is_own(name) or catalogue.is_onnx(name) or catalogue.is_timm(name))
    return sources.hash_in(file.name) if library and file.name in zoo.file_names(name) else ""
