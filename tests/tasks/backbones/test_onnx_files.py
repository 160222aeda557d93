"""Backbones from ONNX files: the same answers as in the framework that wrote them, divided, trainable, verified."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tasks.backbones import catalogue, weights
from tasks.errors import UserError
from tasks.params import BackboneParams
from tests.tasks.backbones.skeletons import assert_divided
from tests.tasks.strategies.pretrained import SIZE, architecture
from tests.tasks.strategies.pretrained import weights as drawn

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx2torch")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def exported(name: str, file: Path, *, images: int = 2, dynamic: bool = True, modern: bool = True) -> nn.Module:
    """Write a small network of torch as users do, and return it."""
    model = architecture(name).build(SIZE)
    model.load_state_dict(drawn(name))
    model.eval()
    options: dict[str, Any] = {"dynamo": modern, "verbose": False}
    if dynamic:
        batch = {0: "batch"}
        options |= {"dynamic_shapes": (batch,)} if modern else {"dynamic_axes": {"x": batch}, "input_names": ["x"]}
    torch.onnx.export(model, (torch.randn(images, 3, SIZE, SIZE),), file, **options)
    return model


def images(count: int = 3, size: int = SIZE) -> Tensor:
    """Return normalised images."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(3))


def answer(file: Path, given: Tensor) -> Tensor:
    """Return what the backbone of a file answers, with the weights that retrieval gives it."""
    state, record = weights.retrieve(BackboneParams(name=str(file)), SIZE)
    assert record.code_sha256
    model = record.architecture().build(SIZE)
    weights.fill(model, state)
    with torch.no_grad():
        logits: Tensor = model.eval()(given)
    return logits


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("mobilenet_v2", {}),
        ("mobilenet_v2", {"dynamic": False, "images": 1}),  # as written by default: for one image
        ("shufflenet_v2_x0_5", {"modern": False}),
        ("vit_b_16", {}),
    ],
    ids=["convolutional", "of one image", "by the older exporter", "transformer"],
)
def test_network_answers_as_before(name: str, how: dict[str, Any], tmp_path: Path) -> None:
    """Whoever wrote the file, the backbone gives the same logits, for any number of images, and is divided."""
    model = exported(name, tmp_path / "net.onnx", **how)
    with torch.no_grad():
        expected = model(images())
    assert expected.std(dim=0).max() > 0.01, "the images are told apart"
    torch.testing.assert_close(answer(tmp_path / "net.onnx", images()), expected, atol=1e-4, rtol=1e-4)
    described = catalogue.find(str(tmp_path / "net.onnx"))
    parts = assert_divided(described, described.build(SIZE))
    assert len(parts) >= (3 if name == "vit_b_16" else 5)


def channels_last(file: Path, size: int | str = 32) -> Any:
    """Write a network as Keras does: images channels last, a spelled-out dense layer, a softmax at the end."""
    generator = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(generator.normal(scale=0.3, size=shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Transpose", ["images"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "kernel"], ["features"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["features", "gamma"], ["scaled"]),
        helper.make_node("Add", ["scaled", "beta"], ["shifted"]),
        helper.make_node("Relu", ["shifted"], ["rectified"]),
        helper.make_node("Conv", ["rectified", "kernel2"], ["features2"], strides=[2, 2]),
        helper.make_node("Relu", ["features2"], ["rectified2"]),
        helper.make_node("ReduceMean", ["rectified2", "axes"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "dense"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    constants = [
        constant("kernel", 8, 3, 3, 3), constant("gamma", 1, 8, 1, 1), constant("beta", 1, 8, 1, 1),
        constant("kernel2", 12, 8, 3, 3), constant("dense", 12, 5), constant("bias", 5),
        numpy_helper.from_array(np.array([2, 3]), "axes"),
    ]  # fmt: skip
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", size, size, 3])
    answers = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 5])
    graph = helper.make_graph(nodes, "net", [given], [answers], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, file)
    return model


def test_network_with_channels_last_answers_logits(tmp_path: Path) -> None:
    """What Keras writes takes images channels first, answers before its softmax, and all its layers can train."""
    file = tmp_path / "keras.onnx"
    channels_last(file)
    session = onnxruntime.InferenceSession(file)
    given = images(4, 32)
    expected = session.run(None, {"images": given.permute(0, 2, 3, 1).numpy()})[0]
    logits = answer(file, given)
    np.testing.assert_allclose(logits.softmax(1), expected, atol=1e-5)
    assert not np.allclose(logits.sum(dim=1), 1)
    described = catalogue.find(str(file))
    assert described.size == 32
    model = described.build(32)
    assert_divided(described, model)
    assert sorted(tuple(p.shape) for p in model.parameters()) == sorted(
        [(8, 3, 3, 3), (1, 8, 1, 1), (1, 8, 1, 1), (12, 8, 3, 3), (5, 12), (5,)]
    )


def test_random_weights_are_drawn(tmp_path: Path) -> None:
    """With ``weights: none``, as for a strategy from scratch, nothing of the file's weights is left."""
    channels_last(tmp_path / "net.onnx")
    in_file, _ = weights.retrieve(BackboneParams(name=str(tmp_path / "net.onnx")), 32)
    random, record = weights.retrieve(BackboneParams(name=str(tmp_path / "net.onnx"), weights="none"), 32)
    assert record.weights == "none"
    assert in_file
    assert not any(torch.equal(in_file[key], random[key]) for key in in_file)


def test_the_file_is_verified_and_counts(tmp_path: Path) -> None:
    """Its SHA-256 is in the record and checked; another content, also beside it, is another backbone."""
    file = tmp_path / "net.onnx"
    model = channels_last(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    _, record = weights.retrieve(BackboneParams(name=str(file), sha256=digest), 32)
    assert record.sha256 == record.code_sha256 == digest
    with pytest.raises(UserError, match="has SHA-256"):
        weights.retrieve(BackboneParams(name=str(file), sha256="0" * 64), 32)
    onnx.save(model, file, save_as_external_data=True, location="net.data", size_threshold=0)
    before = catalogue.code_sha256(str(file))
    content = (tmp_path / "net.data").read_bytes()
    (tmp_path / "net.data").write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert len({digest, before, catalogue.code_sha256(str(file))}) == 3


def broken(file: Path) -> None:
    """Write half a file."""
    channels_last(file)
    file.write_bytes(file.read_bytes()[:700])


def changed(change: Callable[[Any], object]) -> Callable[[Path], None]:
    """Return what writes a file after a change of its graph."""

    def write(file: Path) -> None:
        model = channels_last(file)
        change(model.graph)
        onnx.save(model, file)

    return write


def strange(graph: Any) -> None:
    """Put an operator between that nothing knows as a layer."""
    graph.node[4].CopyFrom(helper.make_node("LpPool", ["shifted"], ["rectified"], kernel_shape=[1, 1]))


def second(graph: Any) -> None:
    """Ask for something besides the images."""
    graph.input.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, ["batch", 1]))


def grey(graph: Any) -> None:
    """Take images of one channel."""
    graph.input[0].type.tensor_type.shape.dim[3].dim_value = 1


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda _: None, r"net\.onnx does not exist"),
        (broken, r"net\.onnx can't be read as ONNX"),
        (lambda file: file.write_bytes(b""), r"net\.onnx can't be read as ONNX"),
        (changed(strange), r"net\.onnx has what can't be converted to torch .*LpPool"),
        (changed(second), r"net\.onnx has 2 inputs \(images, age\)"),
        (changed(grey), r"net\.onnx takes 'images' of shape \(\?, 32, 32, 1\)"),
    ],
    ids=["missing", "broken", "empty", "operator", "two inputs", "grey"],
)
def test_what_is_no_backbone_is_one_sentence(write: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    """What is wrong with the file is one sentence that names it."""
    write(tmp_path / "net.onnx")
    with pytest.raises(UserError, match=said) as caught:
        weights.retrieve(BackboneParams(name=str(tmp_path / "net.onnx")), 32)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """Torchvision's names of weights are none of a file's."""
    channels_last(tmp_path / "net.onnx")
    with pytest.raises(UserError, match=r"in that file itself: leave backbone\.weights out"):
        weights.retrieve(BackboneParams(name=str(tmp_path / "net.onnx"), weights="IMAGENET1K_V1"), 32)


def test_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says what to install."""
    channels_last(tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnx2torch", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[onnx\]'"):
        catalogue.find(str(tmp_path / "net.onnx"))
