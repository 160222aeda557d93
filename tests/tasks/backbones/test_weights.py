"""Weights: what is made of a file, what is refused, and what is kept. Nothing here is downloaded."""

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from tasks.backbones import torchvision_families, torchvision_models, weights
from tasks.errors import UserError
from tasks.files import sha256_of
from tasks.params import BackboneParams, PartsParams
from tests.tasks.backbones.conftest import Sources
from tests.tasks.backbones.files import SIZE, SMALL, State, drawn, put, same, saved

pytestmark = pytest.mark.usefixtures("sources")


# Files of one's own


def test_own_file(good: Path, sources: Sources) -> None:
    """A file is read as it is; the record says which it was, and how its family was trained."""
    state, record = weights.retrieve(BackboneParams(name=SMALL, weights=str(good)), SIZE)
    assert same(state, drawn(SMALL))
    family = torchvision_families.family_of(SMALL)
    assert (record.name, record.source, record.sha256) == (SMALL, good.name, sha256_of(good))
    assert (record.mean, record.std, record.lr) == (family.mean, family.std, family.recipe.lr)
    assert (record.report["new"], record.report["left_out"]) == ([], [])
    assert sources.asked == []
    assert not sources.cache.exists()


def test_date_in_the_name_of_an_own_file_is_no_digest(good: Path, tmp_path: Path) -> None:
    """Only torchvision's own file names carry digests."""
    file = put(good, tmp_path / "run-20240101.pth")
    assert same(weights.retrieve(BackboneParams(name=SMALL, weights=str(file)), SIZE)[0], drawn(SMALL))


def test_weights_of_half_precision_become_the_networks(tmp_path: Path) -> None:
    """A file in float16 gives a network in float32."""
    half = {key: value.half() if value.is_floating_point() else value for key, value in drawn(SMALL).items()}
    state, _ = weights.retrieve(saved(tmp_path, half), SIZE)
    assert {key: value.dtype for key, value in state.items()} == {
        key: value.dtype for key, value in drawn(SMALL).items()
    }


def test_stated_pretraining_comes_before_the_known_one(good: Path) -> None:
    """Input statistics and learning rate of a file of one's own are what params.yaml says."""
    mean, std = (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)
    params = BackboneParams(name=SMALL, weights=str(good), mean=mean, std=std, lr=0.25)
    _, record = weights.retrieve(params, SIZE)
    assert (record.mean, record.std, record.lr) == (mean, std, 0.25)
    assert record.optimizer == torchvision_families.family_of(SMALL).recipe.optimizer


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
        (lambda state: {**state, "fc.bias": state["fc.bias"].int()}, r"1 of another shape \(such as fc\.bias\)"),
        (lambda state: {("module." * (key < "fc")) + key: value for key, value in state.items()}, "missing .* unknown"),
        (lambda _: {}, "missing"),
        (lambda _: drawn("squeezenet1_1"), r"missing .* unknown"),
    ],
)
def test_file_that_does_not_fit_names_what_does_not(
    tmp_path: Path, change: Callable[[State], State], said: str
) -> None:
    """No layer is left at random because the file lacks it: what is missing, too much, or of another shape is named."""
    with pytest.raises(UserError, match=rf"own\.pth does not fit {SMALL}: .*{said}.*backbone\.leave_out"):
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


def googlenet(folder: Path, change: Callable[[State], State]) -> tuple[State, BackboneParams]:
    """Write a file of GoogLeNet's that was changed; return the weights before, and params that name the file."""
    state = drawn("googlenet")
    return state, saved(folder, change(state)).model_copy(update={"name": "googlenet"})


def test_auxiliary_classifiers_are_read_where_they_are(tmp_path: Path) -> None:
    """A file with the classifiers on the way gives them their weights."""
    state, params = googlenet(tmp_path, dict)
    retrieved, record = weights.retrieve(params, SIZE)
    assert same(retrieved, state)
    assert record.report["new"] == []


def test_auxiliary_classifiers_that_a_file_lacks_are_drawn_new(tmp_path: Path) -> None:
    """A file without them fits all the same, and the report names what has no pretrained weights."""
    state, params = googlenet(tmp_path, lambda state: {key: state[key] for key in state if not key.startswith("aux")})
    retrieved, record = weights.retrieve(params, SIZE)
    assert list(retrieved) == list(state)
    new = {key for key in state if key.startswith("aux")}
    assert set(record.report["new"]) == new
    assert all(torch.equal(retrieved[key], state[key]) for key in state.keys() - new)
    assert retrieved["aux1.fc2.weight"].std() > 0
    assert any("aux1" in line and "drawn new" in line for line in record.lines())


def test_untrained_auxiliary_classifiers_are_noted(tmp_path: Path, sources: Sources) -> None:
    """torchvision's own file has them without pretraining, which the report passes on."""
    torch.save(drawn("googlenet"), tmp_path / "online.pth")
    sources.online = tmp_path / "online.pth"
    _, record = weights.retrieve(BackboneParams(name="googlenet", sha256=sha256_of(sources.online)), SIZE)
    assert any("not pretrained" in line for line in record.lines())


def test_half_an_auxiliary_classifier_is_refused(tmp_path: Path) -> None:
    """A file that lacks but one of its layers is damaged, not made without."""
    _, params = googlenet(tmp_path, lambda state: without(state, "aux2.fc2.bias"))
    with pytest.raises(UserError, match=r"1 missing \(such as aux2\.fc2\.bias\)"):
        weights.retrieve(params, SIZE)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
@pytest.mark.parametrize("entry", ["state_dict", "model", "model_state_dict", ""])
def test_wrappers_of_training_scripts_are_taken_away(tmp_path: Path, prefix: str, entry: str) -> None:
    """What DataParallel, torch.compile and checkpoints put around the weights is no difference, and is reported."""
    wrapped: object = {prefix + key: value for key, value in drawn(SMALL).items()}
    params = saved(tmp_path, {entry: wrapped, "epoch": 3, "args": argparse.Namespace(lr=0.1)} if entry else wrapped)
    state, record = weights.retrieve(params, SIZE)
    assert same(state, drawn(SMALL))
    assert any("prefix" in line for line in record.lines())


# What is left out


def left_out(params: BackboneParams, *patterns: str) -> BackboneParams:
    """Return params that leave tensors out."""
    return BackboneParams.model_validate(params.model_dump() | {"leave_out": patterns})


@pytest.mark.parametrize(
    ("change", "gone", "fresh"),
    [
        (lambda state: {**state, "fc.weight": torch.zeros(10, 1024), "fc.bias": torch.zeros(10)}, True, True),
        (lambda state: without(without(state, "fc.bias"), "fc.weight"), False, True),
        (dict, True, True),
    ],
)
def test_layer_that_is_left_out_is_drawn_new(
    tmp_path: Path, change: Callable[[State], State], gone: bool, fresh: bool
) -> None:
    """A classifier of other classes, one that the file lacks and one that isn't wanted: each is named as new."""
    params = left_out(saved(tmp_path, change(drawn(SMALL))), r"fc\..*")
    state, record = weights.retrieve(params, SIZE)
    classifier = ["fc.weight", "fc.bias"]
    assert record.report["left_out"] == (classifier if gone else [])
    assert record.report["new"] == (classifier if fresh else [])
    assert record.report["matched"] == len(state) - 2
    assert state["fc.weight"].shape == (1000, 1024)
    before = drawn(SMALL)
    assert {key for key in state if not torch.equal(state[key], before[key])} == set(classifier)
    said = "; ".join(record.lines())
    assert "2 drawn new: fc.weight, fc.bias" in said


def test_new_tensors_are_the_same_on_each_call(tmp_path: Path) -> None:
    """What is drawn new depends on nothing but the network."""
    params = left_out(saved(tmp_path, drawn(SMALL)), r"fc\..*")
    first, _ = weights.retrieve(params, SIZE)
    torch.rand(3)
    assert same(first, weights.retrieve(params, SIZE)[0])


def test_extra_tensors_of_a_file_can_be_left_out(tmp_path: Path) -> None:
    """What the network lacks is dropped only when asked for."""
    params = saved(tmp_path, {**drawn(SMALL), "decoder.weight": torch.zeros(3), "decoder.bias": torch.zeros(3)})
    with pytest.raises(UserError, match="2 unknown"):
        weights.retrieve(params, SIZE)
    with pytest.raises(UserError, match=r"1 unknown \(such as decoder\.bias\)"):
        weights.retrieve(left_out(params, r"decoder\.weight"), SIZE)
    state, record = weights.retrieve(left_out(params, r"decoder\.(weight|bias)"), SIZE)
    assert same(state, drawn(SMALL))
    assert record.report["left_out"] == ["decoder.weight", "decoder.bias"]
    assert record.report["new"] == []


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("fc", r"leave_out 'fc' matches no tensor .*named conv1\.0\.weight"),  # part of a name only
        (r"head\..*", r"leave_out 'head\\\.\.\*' matches no tensor"),
        (".*", "leaves out all"),
    ],
)
def test_pattern_that_makes_no_sense_is_refused(tmp_path: Path, pattern: str, said: str) -> None:
    """A pattern that explains nothing is a misspelling; one that explains everything is no pretraining."""
    with pytest.raises(UserError, match=said):
        weights.retrieve(left_out(saved(tmp_path, drawn(SMALL)), pattern), SIZE)


def test_pattern_that_is_no_regular_expression_is_refused() -> None:
    """A bracket that is never closed is a mistake in params.yaml."""
    with pytest.raises(ValidationError, match=r"'fc\(' is not a regular expression: .*"):
        BackboneParams(name=SMALL, leave_out=("fc(",))


def test_nothing_is_left_out_of_random_weights() -> None:
    """leave_out without a file is a mistake."""
    with pytest.raises(UserError, match=r"leave_out is about a weights file"):
        weights.retrieve(left_out(BackboneParams(name=SMALL, weights="none"), "fc.*"), SIZE)


# Vision transformers


def small_vit(_: str, size: int) -> VisionTransformer:
    """Return a ViT with patches as large as vit_b_32's, and little else."""
    return VisionTransformer(size, patch_size=32, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16)


@pytest.fixture
def vit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Tensor], BackboneParams]:
    """Write a ViT's weights for 128 pixels with the position embeddings that are given."""
    monkeypatch.setattr(torchvision_models, "build", small_vit)

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
    embeddings = state["encoder.pos_embedding"]
    assert embeddings.shape == (1, side * side + 1, 8)
    assert record.size == size
    assert (embeddings[0, 0] == 7).all()
    grid = embeddings[0, 1:, 0].reshape(side, side)
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
    with pytest.raises(UserError, match=r"does not fit vit_b_32: .* missing \(such as class_token,"):
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
    read = weights.WeightsRecord.read(tmp_path / "out" / "r.json")
    assert read == record
    assert read.lines() == record.lines() != []
    loaded = weights.load(tmp_path / "out" / "w.safetensors")
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    read.architecture().build(SIZE).load_state_dict(loaded)


def test_record_says_what_the_layers_are_for(tmp_path: Path) -> None:
    """The parts that params.yaml states are those of the network that is built from the record."""
    parts = PartsParams(stem=("conv1",), stages=(("stage2", "stage3"), ("stage4", "conv5")), head="fc")
    params = BackboneParams(name=SMALL, weights="none", parts=parts)
    weights.store(*weights.retrieve(params, SIZE), tmp_path / "w.safetensors", tmp_path / "r.json")
    record = weights.WeightsRecord.read(tmp_path / "r.json")
    architecture = record.architecture()
    assert [part.name for part in architecture.split(architecture.build(SIZE))] == ["stem", "stage1", "stage2", "head"]
    plain = weights.retrieve(BackboneParams(name=SMALL, weights="none"), SIZE)[1].architecture()
    assert len(plain.split(plain.build(SIZE))) > 4


def test_weights_in_another_memory_layout_are_stored(tmp_path: Path) -> None:
    """A network that was trained in channels-last order is saved as its numbers, not as its memory."""
    kernel = torch.arange(24.0).reshape(2, 3, 2, 2)
    weights.save({"kernel": kernel.to(memory_format=torch.channels_last)}, tmp_path / "w.safetensors")
    assert torch.equal(weights.load(tmp_path / "w.safetensors")["kernel"], kernel)


def test_shared_weights_are_stored(tmp_path: Path) -> None:
    """A network that uses one tensor twice, or two halves of one, is saved whole."""
    shared = torch.arange(6.0)
    state = {"first": shared, "second": shared, "start": shared[:3], "end": shared[3:].view(3, 1)}
    weights.save(state, tmp_path / "w.safetensors")
    loaded = weights.load(tmp_path / "w.safetensors")
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


NET = """
from torch import nn

def net():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 7)
    )
"""


def test_own_architecture_with_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An architecture of one's own takes a file's weights; its recipe is unknown but for what params.yaml says."""
    monkeypatch.chdir(tmp_path)
    Path("network_with_a_file.py").write_text(NET)
    name = "network_with_a_file:net"
    _, random = weights.retrieve(BackboneParams(name=name, weights="none"), SIZE)
    assert (random.optimizer, random.lr, random.batch_size, random.report) == (None, None, None, {})
    assert random.code_sha256 != ""
    torch.manual_seed(9)
    content = random.architecture().build(SIZE).state_dict()
    params = saved(tmp_path, content).model_copy(update={"name": name, "lr": 0.02})
    state, record = weights.retrieve(params, SIZE)
    assert same(state, content)
    assert (record.lr, record.code_sha256) == (0.02, random.code_sha256)
    with pytest.raises(UserError, match=r"backbone\.weights 'IMAGENET1K_V1': an architecture of your own"):
        weights.retrieve(BackboneParams(name=name), SIZE)


@pytest.mark.parametrize("content", [None, b"", b"cut short"])
def test_damaged_stored_weights_say_how_to_make_them(tmp_path: Path, content: bytes | None) -> None:
    """A stage that finds its input missing or damaged names it and the command."""
    file = tmp_path / "w.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=r"w\.safetensors is missing or damaged.*dvc repro"):
        weights.load(file)
