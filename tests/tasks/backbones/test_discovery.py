"""What the layers of an unknown network are for, found out from a forward pass."""

from collections.abc import Sequence

import pytest
from torch import Tensor, nn
from torch.nn import functional

from tasks.backbones import torchvision_models
from tasks.backbones.architecture import Part
from tasks.backbones.discovery import find_head, find_input_layer, find_parts
from tasks.backbones.tracing import trace
from tasks.errors import UserError
from tests.tasks.backbones.skeletons import leaves, owners, skeleton, tensors

JOINED_BY_RESOLUTION = ["resnet18", "mobilenet_v2", "efficientnet_b0", "convnext_tiny", "mnasnet0_5", "densenet121",
                        "squeezenet1_1", "regnet_x_400mf", "mobilenet_v3_small", "swin_t", "vit_b_32"]  # fmt: skip


def discovered(model: nn.Module, size: int = 32, name: str = "own:net") -> tuple[str, str, list[Part]]:
    """Return input layer, head and parts of a network."""
    calls, logits = trace(model, size)
    input_layer, head = find_input_layer(name, calls), find_head(name, calls, logits)
    return input_layer, head, find_parts(name, model, calls, input_layer, head)


@pytest.mark.parametrize("name", JOINED_BY_RESOLUTION)
def test_known_networks_are_rediscovered(name: str) -> None:
    """Without knowing the family, its stages, input layer and head are found: every weight is where its family has it.

    Class token and position embeddings may move between the stem and the first stage.
    """
    architecture, model = torchvision_models.find(name), skeleton(name)
    input_layer, head, parts = discovered(model, architecture.size)
    assert (input_layer, head) == (architecture.input_layer, architecture.head)
    layers = [tensor for tensor in tensors(model) if tensor.rpartition(".")[0] in leaves(model)]
    assert owners(parts, layers) == owners(architecture.split(model), layers)


class Block(nn.Module):
    """A residual block whose first convolution still has the resolution before it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, stride=stride, padding=1)
        self.beside = nn.Conv2d(inputs, outputs, 1, stride=stride)
        self.gate = nn.Conv2d(outputs, outputs, 1)
        self.scale = nn.Parameter(nn.init.ones_(nn.Conv2d(1, 1, 1).weight))

    def forward(self, maps: Tensor) -> Tensor:
        inside = self.second(self.first(maps).relu())
        gated: Tensor = inside * self.gate(inside.mean((2, 3), keepdim=True)).sigmoid() * self.scale
        return gated + self.beside(maps)


class Residual(nn.Module):
    """Stem, two resolutions of two blocks each, a norm, a head; a dropout that is defined before all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.body = nn.ModuleList([Block(4, 4, 1), Block(4, 6, 1), Block(6, 6, 2), Block(6, 8, 1)])
        self.norm = nn.LayerNorm(8)
        self.classifier = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        for block in self.body:
            maps = block(maps)
        logits: Tensor = self.classifier(self.drop(self.norm(maps.mean((2, 3)))))
        return logits


def test_blocks_are_not_torn_apart() -> None:
    """A block belongs to the resolution it ends at; gates, norms and dropouts go where they work."""
    model = Residual()
    input_layer, head, parts = discovered(model)
    assert (input_layer, head) == ("stem.0", "classifier")
    assert [part.prefixes for part in parts] == [
        ("stem",), ("body.0", "body.1"), ("body.2", "body.3", "norm"), ("drop", "classifier"),
    ]  # fmt: skip


class Gate(nn.Module):
    """A squeeze-and-excitation: it looks at one place, and answers in the shape that it is given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(width, width, 1)

    def forward(self, maps: Tensor) -> Tensor:
        gated: Tensor = maps * self.look(maps.mean((2, 3), keepdim=True)).sigmoid()
        return gated


class NormFreeBlock(nn.Module):
    """A block that ends in a gate, and is no norm in spite of its name."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, stride=stride, padding=1)
        self.gate = Gate(width)

    def forward(self, maps: Tensor) -> Tensor:
        gated: Tensor = self.gate(self.convolution(maps))
        return gated


def test_gates_at_the_end_of_blocks_are_no_lower_resolution() -> None:
    """The last block of each resolution, and of the network, stays with the others of its resolution."""
    blocks = [NormFreeBlock(4, stride) for stride in (1, 1, 2, 1, 2, 1)]
    parts = discovered(plain(nn.Conv2d(3, 4, 3), *blocks, *POOL, nn.Linear(4, 2)))[2]
    assert [part.prefixes for part in parts[:4]] == [("0",), ("1", "2"), ("3", "4"), ("5", "6")]


class ActiveNorm(nn.BatchNorm2d):
    """A norm with its activation inside, and a table that nothing uses."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.activation = nn.ReLU()
        self.table = nn.BatchNorm1d(2, affine=False)

    def forward(self, maps: Tensor) -> Tensor:
        active: Tensor = self.activation(super().forward(maps))
        return active


def test_norm_with_its_activation_inside_is_one_layer() -> None:
    """Its weights are its own, though a module runs in it; statistics that never change have a place as well."""
    model = plain(nn.Conv2d(3, 4, 3), ActiveNorm(4), nn.Conv2d(4, 4, 3), *POOL, nn.Linear(4, 2))
    parts = discovered(model)[2]
    assert [part.prefixes for part in parts[:2]] == [("0", "1"), ("2",)]


class Attention(nn.Module):
    """A transformer block with two children."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        inside = self.norm(tokens)
        return tokens + self.attention(inside, inside, inside, need_weights=False)[0]


class Encoder(nn.Module):
    """Blocks and a norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(nn.init.zeros_(nn.Linear(width, 17).weight))
        self.blocks = nn.Sequential(*(Attention(width) for _ in range(3)))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        encoded: Tensor = self.norm(self.blocks(tokens + self.positions))
        return encoded


class Transformer(nn.Module):
    """A small vision transformer whose encoder is a module of its own."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, stride=8)
        self.token = nn.Parameter(nn.init.zeros_(nn.Linear(width, 1).weight))
        self.encoder = Encoder(width)
        self.head = nn.Linear(width, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).mT
        tokens = functional.pad(tokens, (0, 0, 1, 0)) + functional.pad(self.token, (0, 0, 0, 16))
        logits: Tensor = self.head(self.encoder(tokens)[:, 0])
        return logits


def test_where_the_resolution_never_falls_each_block_is_a_stage() -> None:
    """A plain transformer has as many stages as blocks; its token is the stem's, its last norm the last stage's."""
    parts = discovered(Transformer())[2]
    assert [part.name for part in parts] == ["stem", "stage1", "stage2", "stage3", "head"]
    assert parts[0].prefixes == ("token", "patches")
    assert parts[1].prefixes == ("encoder.positions", "encoder.blocks.0")
    assert parts[3].prefixes == ("encoder.blocks.2", "encoder.norm")


def test_one_by_one_convolution_is_a_head() -> None:
    """Networks without a linear layer answer by a convolution."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 2, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    _, head, parts = discovered(model)
    assert head == "3"
    assert [part.prefixes for part in parts] == [("0",), ("1", "2"), ("3", "4", "5")]


class Answering(nn.Module):
    """A network that answers something else than logits."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        self.answer = answer
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> object:
        logits = self.head(self.body(images))
        return {"dict": {"logits": logits}, "classes": logits.argmax(1), "sliced": logits[:, :1]}[self.answer]


def plain(*layers: nn.Module) -> nn.Module:
    """Return layers one after the other."""
    return nn.Sequential(*layers)


POOL: Sequence[nn.Module] = (nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (plain(nn.Flatten(), nn.Linear(3072, 4), nn.Linear(4, 2)), r"no convolution .*at the input.*'1' \(Linear\)"),
        (plain(nn.ReLU(), *POOL), r"no convolution .*without weights"),
        (plain(nn.PixelUnshuffle(2), nn.Conv2d(12, 4, 3), *POOL, nn.Linear(4, 2)), r"'1' of 12 input channels.* has 3"),
        (plain(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 4, 3), *POOL, nn.Linear(4, 2)), r"2 convolutions of 3 .*\(0, 1\)"),
        (plain(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3), *POOL), r"does not end in a linear layer.*'1' \(Conv2d\)"),
        (plain(nn.Conv2d(3, 4, 3), *POOL, nn.Linear(4, 4), nn.LayerNorm(4)), r"does not end in .*'4' \(LayerNorm\)"),
        (plain(nn.Conv2d(3, 4, 3), *POOL, nn.Linear(4, 2)), r"no layers with weights between .*'0' and .*'3'"),
        (Answering("dict"), r"answers a dict .* 'head' answers \(2, 2\)"),
        (Answering("classes"), r"answers \(2,\) .*\(2, 2\)"),
        (Answering("sliced"), r"answers \(2, 1\) .*\(2, 2\)"),
    ],
)
def test_network_that_is_no_classifier_of_images_says_why(model: nn.Module, said: str) -> None:
    """What is missing at the input or at the end is said with the layers that were found there."""
    with pytest.raises(UserError, match=rf"backbone\.name 'own:net' .*{said}") as caught:
        discovered(model)
    assert "\n" not in str(caught.value)


def test_norm_before_the_first_convolution_belongs_to_the_stem() -> None:
    """A network may normalise its images itself."""
    model = plain(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), *POOL, nn.Linear(4, 2))
    input_layer, _, parts = discovered(model)
    assert input_layer == "1"
    assert parts[0].prefixes == ("0", "1")


def test_layer_that_never_runs_is_an_error() -> None:
    """A layer with weights whose place can't be seen isn't put anywhere; it is named, and what to do about it."""
    model = plain(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), *POOL, nn.Linear(4, 2))
    model.add_module("spare", nn.Module())
    model.get_submodule("spare").register_module("layer", nn.Linear(4, 2))
    model.forward = lambda images: model[4](model[3](model[2](model[1](model[0](images)))))  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"tensor 'spare\.layer\.weight' whose layer does not run.*backbone\.parts"):
        discovered(model)
