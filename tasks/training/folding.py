"""Convolutions that carry their frozen BatchNorm: the same function and gradients without a pass over the activations.

With fixed statistics BatchNorm is an affine map a channel, which a convolution can apply through its own kernel:
w' = w * gamma / sigma, b' = beta + (b - mu) * gamma / sigma. The kernel is made anew in every step, so that gradients
reach w, gamma and beta as before; what is saved is reading and writing every activation twice. Jacob et al.,
Quantization and Training of Neural Networks (CVPR 2018, section 3.2), fold in training the same way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from torch import Tensor, fx, nn

from tasks.engines.fusion import with_norm
from tasks.training.patching import Forward, replaced_forwards

Pairs = list[tuple[nn.Conv2d, nn.BatchNorm2d]]
Structure = list[tuple[str, nn.Module | None, bool]]

_known: WeakKeyDictionary[nn.Module, tuple[Structure, Pairs]] = WeakKeyDictionary()


@contextmanager
def folded(model: nn.Module) -> Iterator[None]:
    """Fold, for as long as the block runs, each BatchNorm in evaluation mode into the convolution before it.

    A BatchNorm in training mode works as ever. Networks whose graph can't be traced are left as they are.
    """
    forwards: dict[nn.Module, Forward] = {}
    for convolution, norm in _pairs_of(model):
        forwards[convolution], forwards[norm] = _folding(convolution, norm)
    with replaced_forwards(forwards):
        yield


def _folding(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Forward, Forward]:
    """Return the forward passes of a convolution that takes a norm's part, and of the norm that leaves it to it."""
    plain_convolution, plain_norm = convolution.forward, norm.forward

    def convolve(images: Tensor) -> Tensor:
        if norm.training:
            return plain_convolution(images)
        weight, bias = with_norm(convolution.weight, convolution.bias, norm)
        answer: Tensor = convolution._conv_forward(images, weight, bias)
        return answer

    def normalise(images: Tensor) -> Tensor:
        answer: Tensor = plain_norm(images) if norm.training else images
        return answer

    return convolve, normalise


def _pairs_of(model: nn.Module) -> Pairs:
    """Return what belongs together in a network, which is traced anew only where its modules have changed."""
    modules = model.named_modules()
    structure = [(name, None if module is model else module, module.training) for name, module in modules]
    before, pairs = _known.get(model, (None, []))
    if structure != before:
        pairs = _pairs(model)
        _known[model] = structure, pairs
    return pairs


def _pairs(model: nn.Module) -> Pairs:
    try:
        graph = fx.Tracer().trace(model)
    except Exception:
        return []
    modules = dict(model.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    reused = {node.target for node in calls if sum(other.target == node.target for other in calls) > 1}
    pairs = []
    for node in calls:
        norm, source = modules[str(node.target)], node.args[0] if node.args else None
        if not isinstance(norm, nn.BatchNorm2d) or not norm.affine or not norm.track_running_stats:
            continue
        if isinstance(source, fx.Node) and source.op == "call_module" and len(source.users) == 1:
            convolution = modules[str(source.target)]
            if isinstance(convolution, nn.Conv2d) and not reused & {node.target, source.target}:
                pairs.append((convolution, norm))
    return pairs
