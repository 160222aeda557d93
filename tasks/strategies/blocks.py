"""New stages that start as the identity, and poolings, for features of every layout."""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

HEAD_WIDTH = 64


class ConvBlock(nn.Module):
    """A residual block of two convolutions, for maps.

    He et al., Deep Residual Learning for Image Recognition (CVPR 2016); the last scale starts at zero, as in Goyal et
    al., Accurate, Large Minibatch SGD (2017).
    """

    def __init__(self, width: int, *, channels_last: bool) -> None:
        super().__init__()
        self._channels_last = channels_last
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        for convolution in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.bn2.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape: (batch, width, height, width) or (batch, height, width, width)."""
        inner = maps.permute(0, 3, 1, 2) if self._channels_last else maps
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(inner)))))
        answer: Tensor = maps + (inner.permute(0, 2, 3, 1) if self._channels_last else inner)
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
    """A pre-norm residual block of two linear layers, for features without positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), _zero(nn.Linear(width, width))
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


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
