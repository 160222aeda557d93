"""A network's graph with its layers on oneDNN's fused operators: the same function, fewer passes over activations."""

import operator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from tasks.engines.operators import (
    NO_ACTIVATION,
    Activation,
    FusedConvolution,
    FusedLinear,
    Kernel,
    activation_of_function,
    activation_of_module,
)

SUMS = (operator.add, operator.iadd, torch.add)
IDENTITIES = (nn.Identity, nn.Dropout, nn.Dropout2d)


class NotFusableError(Exception):
    """A network has no graph, or nothing in it can be fused; says why."""


def fuse(network: nn.Module, dtype: torch.dtype) -> fx.GraphModule:
    """Return a network's forward pass on fused operators, as of its weights when it answers a shape for the first time.

    What no operator takes is the network's own module, and wants ``torch.autocast`` where ``dtype`` is bfloat16. So
    are modules with hooks, which are called as ever.

    Args:
        network: in evaluation mode, on the CPU.
        dtype: float32 or bfloat16, that the operators compute in.

    Raises:
        NotFusableError: its forward pass can't be traced, or no layer can be fused.
    """
    try:
        graph = _Tracer().trace(network)
    except Exception as error:
        raise NotFusableError(f"its forward pass can't be traced ({str(error).partition('. ')[0]})") from error
    fused = fx.GraphModule(network, graph)
    _drop_identities(fused)
    targets = [node.target for node in graph.nodes if node.op == "call_module"]
    count = 0
    for node in list(graph.nodes):
        if node.op == "call_module" and targets.count(node.target) == 1:
            chain = _chain(fused, node)
            if chain:
                _replace(fused, chain, f"fused_{count}", dtype)
                count += 1
    if not count:
        raise NotFusableError("none of its layers can be fused")
    fused.delete_all_unused_submodules()
    fused.recompile()
    return fused


class _Tracer(fx.Tracer):
    """Leaves modules with hooks whole."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a call of the module is recorded as such."""
        return _has_hooks(m) or super().is_leaf_module(m, module_qualified_name)


class _Chain(NamedTuple):
    """A layer and what follows it, all of which one operator computes.

    Attributes:
        nodes: from the layer on.
        norm: that belongs to the convolution.
        other: what is added.
        activation: comes last.
    """

    nodes: list[fx.Node]
    norm: nn.BatchNorm2d | None
    other: fx.Node | None
    activation: Activation


def _chain(graph: fx.GraphModule, node: fx.Node) -> _Chain | None:
    """Return what can be fused with a layer; None: it is no layer for an operator."""
    layer = graph.get_submodule(str(node.target))
    if not _is_fusable(layer) or node.kwargs:
        return None
    nodes, norm, other = [node], None, None
    follower = _only_user(node)
    if isinstance(layer, nn.Conv2d):
        module = _module_of(graph, follower)
        if follower and isinstance(module, nn.BatchNorm2d) and _is_affine(module):
            norm, nodes, follower = module, [*nodes, follower], _only_user(follower)
        other = _other_summand(follower, nodes[-1])
        if follower and other:
            nodes, follower = [*nodes, follower], _only_user(follower)
    activation = _activation(graph, follower, nodes[-1])
    if follower and activation:
        nodes = [*nodes, follower]
    return _Chain(nodes, norm, other, activation or NO_ACTIVATION)


def _replace(graph: fx.GraphModule, chain: _Chain, name: str, dtype: torch.dtype) -> None:
    first, last = chain.nodes[0], chain.nodes[-1]
    layer = graph.get_submodule(str(first.target))
    module: nn.Module
    if isinstance(layer, nn.Conv2d):
        module = FusedConvolution(layer, partial(_kernel, layer, chain.norm), chain.activation, dtype)
    elif isinstance(layer, nn.Linear):
        module = FusedLinear(layer, chain.activation, dtype)
    graph.add_module(name, module)
    inputs = (first.args[0], chain.other) if chain.other else (first.args[0],)
    with graph.graph.inserting_before(last):
        last.replace_all_uses_with(graph.graph.call_module(name, inputs))
    for node in reversed(chain.nodes):
        graph.graph.erase_node(node)


def _kernel(layer: nn.Conv2d, norm: nn.BatchNorm2d | None) -> Kernel:
    weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    if norm is None:
        return weight, bias
    folded_weight, folded_bias = with_norm(weight, bias, norm)
    return folded_weight.detach(), folded_bias.detach()


def with_norm(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the weight and bias of a convolution that carries the BatchNorm behind it, of fixed statistics.

    w' = w * gamma / sigma, b' = beta + (b - mu) * gamma / sigma (Jacob et al., CVPR 2018, section 3.2).
    """
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise TypeError("a BatchNorm without statistics can't be folded")
    scale = norm.weight * (variance + norm.eps).rsqrt()
    shifted = -mean if bias is None else bias - mean
    return weight * scale.view(-1, 1, 1, 1), norm.bias + shifted * scale


def _is_fusable(layer: nn.Module) -> bool:
    if _has_hooks(layer):
        return False
    if type(layer) is nn.Conv2d:
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return type(layer) is nn.Linear


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _is_affine(norm: nn.BatchNorm2d) -> bool:
    return norm.affine and norm.track_running_stats and not norm.training and not _has_hooks(norm)


def _only_user(node: fx.Node) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def _module_of(graph: fx.GraphModule, node: fx.Node | None) -> nn.Module | None:
    return graph.get_submodule(str(node.target)) if node and node.op == "call_module" else None


def _other_summand(node: fx.Node | None, summand: fx.Node) -> fx.Node | None:
    """Return what a node adds to one of its summands; None: it is no sum of two tensors."""
    if not node or node.op != "call_function" or node.target not in SUMS or node.kwargs or len(node.args) != 2:
        return None
    others = [argument for argument in node.args if argument is not summand]
    return others[0] if len(others) == 1 and isinstance(others[0], fx.Node) else None


def _activation(graph: fx.GraphModule, node: fx.Node | None, source: fx.Node) -> Activation | None:
    if not node or node.args != (source,):
        return None
    module = _module_of(graph, node)
    if module:
        return None if _has_hooks(module) else activation_of_module(module)
    plain: dict[str, Any] = {key: value for key, value in node.kwargs.items() if key != "inplace"}
    return None if plain or node.op == "get_attr" else activation_of_function(node.target)


def _drop_identities(graph: fx.GraphModule) -> None:
    """Leave out what changes nothing in evaluation: dropout, and stochastic depth."""
    for node in list(graph.graph.nodes):
        module = _module_of(graph, node)
        is_identity = isinstance(module, IDENTITIES) and not module.training and not _has_hooks(module)
        arguments = [*node.args, *node.kwargs.values()]
        is_depth = getattr(node.target, "__name__", "") == "stochastic_depth" and arguments[-1] is False
        if (is_identity or is_depth) and isinstance(node.args[0], fx.Node):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
