"""New stages that start as the identity, and poolings, for features of every layout."""

from collections.abc import Callable

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

HEAD_WIDTH = 64
REDUCTION = 4  # of the width within a bottleneck, as in He et al.
DIVISOR = 8  # of widths, as tensor cores want them


class Bottleneck(nn.Module):
    """A residual bottleneck for maps: a 1x1 convolution narrows them, a 3x3 one works, a 1x1 one widens them again.

    He et al., Deep Residual Learning for Image Recognition (CVPR 2016); the last scale starts at zero, as in Goyal et
    al., Accurate, Large Minibatch SGD (2017).
    """

    def __init__(self, width: int, budget: int, *, channels_last: bool) -> None:
        super().__init__()
        self._channels_last = channels_last
        inner = bottleneck_width(width, budget, lambda inner: (2 * width + 9 * inner + 4) * inner + 2 * width)
        self.conv1 = nn.Conv2d(width, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        for convolution in (self.conv1, self.conv2, self.conv3):
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.bn3.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape: (batch, width, height, width) or (batch, height, width, width)."""
        residual = maps.permute(0, 3, 1, 2) if self._channels_last else maps
        residual = self.relu(self.bn1(self.conv1(residual)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        answer: Tensor = maps + (residual.permute(0, 2, 3, 1) if self._channels_last else residual)
        return answer


class TransformerBlock(nn.Module):
    """A pre-norm transformer block, for tokens.

    Dosovitskiy et al., An Image is Worth 16x16 Words (ICLR 2021).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self._heads = next(heads for heads in range(max(1, width // HEAD_WIDTH), 0, -1) if width % heads == 0)
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = _zero(nn.Linear(width, width))
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), _zero(nn.Linear(4 * width, width)))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens of the same shape, (batch, tokens, width)."""
        split = self.qkv(self.norm1(tokens)).unflatten(-1, (3, self._heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.proj(attended)
        answer: Tensor = tokens + self.mlp(self.norm2(tokens))
        return answer


class VectorBlock(nn.Module):
    """A pre-norm residual bottleneck of two linear layers, for features without positions.

    Houlsby et al., Parameter-Efficient Transfer Learning for NLP (ICML 2019).
    """

    def __init__(self, width: int, budget: int) -> None:
        super().__init__()
        inner = bottleneck_width(width, budget, lambda inner: (2 * width + 1) * inner + 3 * width)
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, inner), nn.GELU(), _zero(nn.Linear(inner, width))
        )

    def forward(self, vectors: Tensor) -> Tensor:
        """Return vectors of the same shape, (batch, width)."""
        answer: Tensor = vectors + self.layers(vectors)
        return answer


class MapAverage(nn.Module):
    """The average over all positions of a map."""

    def __init__(self, *, channels_last: bool) -> None:
        super().__init__()
        self._positions = (1, 2) if channels_last else (2, 3)

    def forward(self, maps: Tensor) -> Tensor:
        """Return vectors of shape (batch, width)."""
        return maps.mean(self._positions)


class TokenAverage(nn.Module):
    """The average over the tokens from ``start`` to before ``stop``; over one, a class token, that token."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self._start, self._stop = start, stop

    def forward(self, tokens: Tensor) -> Tensor:
        """Return vectors of shape (batch, width) for tokens of shape (batch, tokens, width)."""
        return tokens[:, self._start : self._stop].mean(1)


def bottleneck_width(width: int, budget: int, parameters: Callable[[int], int]) -> int:
    """Return the width within a bottleneck: a quarter of what comes in, or less where that takes too many parameters.

    Args:
        width: of what comes in.
        budget: number of parameters that the bottleneck should have at most; it has a width of 1 where none fits.
        parameters: returns how many a bottleneck of a width within has.
    """
    widths = range(width // REDUCTION, 1, -1)
    inner = next((inner for inner in widths if parameters(inner) <= budget), 1)
    return inner - inner % DIVISOR if inner > DIVISOR else inner


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
