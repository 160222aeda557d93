"""Engines answer what networks answer, or the networks answer themselves."""

import pytest
import torch
from torch import Tensor, nn

from tasks.engines import answering as room
from tasks.engines.answering import answering, deviation
from tasks.engines.fusion import NotFusableError, fuse
from tasks.engines.ways import WAYS, Way
from tests.tasks.strategies import slim

CPU = torch.device("cpu")
FUSED = Way("fused", "float32")
FAMILIES = (
    "mobilenet_v2",
    "mobilenet_v3_small",
    "resnet18",
    "efficientnet_b0",
    "convnext_tiny",
    "densenet121",
    "vit_b_16",
)


def network_of(family: str) -> tuple[nn.Module, Tensor]:
    """Return a small network of a family, with statistics that do something, and images for it."""
    torch.manual_seed(0)
    architecture = slim.find(family)
    size = max(64, architecture.smallest)
    model = architecture.build(size).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return model, torch.randn(5, 3, size, size).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("family", FAMILIES)
def test_fused_operators_answer_what_the_network_answers(family: str) -> None:
    """In either precision, and for other numbers of images and other sides than the first."""
    model, images = network_of(family)
    with torch.inference_mode():
        expected = model(images)
        for way in WAYS:
            answer = answering(model, way, CPU)
            assert deviation(answer(images), expected) <= room.TOLERANCE[way.precision]
            assert deviation(answer(images[:1]), expected[:1]) <= room.TOLERANCE[way.precision]
        assert deviation(fuse(model, torch.float32)(images), expected) < 1e-4


def test_most_layers_are_fused() -> None:
    """Of a MobileNetV2 no BatchNorm, activation, sum or dropout is left."""
    kinds = {type(module).__name__ for module in fuse(network_of("mobilenet_v2")[0], torch.float32).children()}
    graph = fuse(network_of("mobilenet_v2")[0], torch.float32).graph
    assert kinds == {"FusedConvolution", "FusedLinear"}
    assert {node.op for node in graph.nodes} == {"placeholder", "call_module", "call_function", "output"}
    assert not [node for node in graph.nodes if getattr(node.target, "__name__", "") in {"add", "iadd"}]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_kept_activations_in_bfloat16_are_answered_in_every_way(way: Way) -> None:
    """What was kept in the precision of training is no reproach to an engine that computes in another one."""
    head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval().requires_grad_(False)
    kept = torch.randn(5, 8, dtype=torch.bfloat16)
    with torch.inference_mode():
        answer = answering(head, way, CPU)(kept)
        assert deviation(answer, head(kept.float())) <= room.TOLERANCE[way.precision]


def test_hooks_are_called_once_a_batch_with_what_the_layer_is_given() -> None:
    """What listens at a layer sees each batch once, also in the batch by which the engine is checked."""
    model, images = network_of("resnet18")
    seen: list[Tensor] = []
    model.get_submodule("fc").register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    answer = answering(model, FUSED, CPU)
    with torch.inference_mode():
        answer(images)
        answer(images[:2])
        by_engine, seen[:] = list(seen), []
        model(images)
    assert [len(given) for given in by_engine] == [5, 2]
    assert deviation(by_engine[0], seen[0]) < 1e-4


class Branching(nn.Module):
    """A network whose forward pass depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Answer by the mean colour."""
        colours = images.mean((2, 3))
        return self.layer(colours if colours.sum() > 0 else -colours)


def test_a_network_that_does_not_trace_answers_itself() -> None:
    """It is no candidate, and answers as ever."""
    model = Branching().eval()
    images = torch.ones(2, 3, 4, 4)
    with pytest.raises(NotFusableError, match="can't be traced"):
        fuse(model, torch.float32)
    with torch.inference_mode():
        assert torch.equal(answering(model, FUSED, CPU)(images), model(images))


@pytest.mark.parametrize("fails", ["raises", "differs"])
def test_an_engine_that_fails_is_left_with_one_line(
    fails: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that raises, and one with other answers: the network answers, and one line says so, once."""

    def broken(network: nn.Module, _: torch.dtype) -> nn.Module:
        return nn.Linear(7, 7) if fails == "raises" else nn.Sequential(network, nn.Threshold(1e9, 3.0))

    monkeypatch.setattr(room, "fuse", broken)
    room.say_once.cache_clear()
    model, images = network_of("resnet18")
    with torch.inference_mode():
        for _ in range(2):
            assert torch.equal(answering(model, FUSED, CPU)(images), model(images))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert fails in lines[0]
    assert "fused float32" in lines[0]


def test_weights_that_change_change_the_answers_of_the_next_engine() -> None:
    """Nothing is kept of an earlier state of a network."""
    model, images = network_of("mobilenet_v2")
    with torch.inference_mode():
        before = answering(model, FUSED, CPU)(images)
        for parameter in model.parameters():
            parameter.mul_(1.1)
        after = answering(model, FUSED, CPU)(images)
        assert deviation(after, model(images)) < 1e-3
    assert deviation(after, before) > 1e-2


def test_deviations() -> None:
    """Other shapes and answers that are not finite are no agreement; a network that is lost itself is no reproach."""
    ones = torch.ones(2, 2)
    assert deviation(ones * 1.01, ones) == pytest.approx(0.01)
    assert deviation(ones, torch.zeros(2, 2)) == torch.inf
    assert deviation(ones[:1], ones) == torch.inf
    assert deviation(ones * torch.nan, ones) == torch.inf
    assert deviation(ones * torch.nan, ones * torch.nan) == 0
