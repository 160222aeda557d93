"""L2-SP: pretrained weights are pulled towards where they started, not towards zero.

Li, Grandvalet and Davoine, Explicit Inductive Bias for Transfer Learning with Convolutional Networks (ICML 2018).
"""

from collections.abc import Sequence

import torch
from torch import nn


class L2SP:
    """The weights before training, and the pull back to them: the gradient of ``strength / 2 * (w - start)^2``."""

    def __init__(self, model: nn.Module, names: Sequence[str], strength: float) -> None:
        self._strength = strength
        self._pairs = [(parameter, parameter.detach().clone()) for parameter in map(model.get_parameter, names)]

    @torch.no_grad()
    def pull(self) -> None:
        """Add the pull to the gradients of the weights that train."""
        for parameter, start in self._pairs:
            if parameter.grad is not None:
                parameter.grad.add_(parameter - start, alpha=self._strength)
