"""Forward passes as graphs that can be cut and lengthened, by torch.fx.

A call of a module of a part is one node. The modules stay the network's: their tensors keep their names, and each
keeps its own mode, training or evaluation. What the network does between them is recorded in evaluation mode.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from tasks.backbones.architecture import Part

ACTIVATIONS = frozenset(
    {"relu", "relu6", "leakyrelu", "leaky_relu", "elu", "gelu", "silu", "mish", "tanh", "hardswish"}
)


class NotDivisibleError(Exception):
    """The forward pass of a network has not the form that cutting needs; says why."""


def trace(model: nn.Module, parts: Sequence[Part], images: Tensor) -> fx.Graph:
    """Return the graph of a network's forward pass on normalised images.

    Raises:
        NotDivisibleError: the forward pass depends on the values of tensors, or makes numbers of their shapes.
    """
    model.eval()
    try:
        return _PartTracer(parts, images).trace(model)
    except Exception as error:
        reason = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        raise NotDivisibleError(f"its forward pass can't be traced ({reason})") from error


def calls(graph: fx.Graph, part: Part) -> list[fx.Node]:
    """Return the calls of a part's modules, in their order.

    Raises:
        NotDivisibleError: there are none.
    """
    nodes = [node for node in graph.nodes if node.op == "call_module" and part.owns(str(node.target))]
    if not nodes:
        raise NotDivisibleError(f"no layer of {part.name} runs")
    return nodes


def front_of(model: nn.Module, graph: fx.Graph, kept: Sequence[Part]) -> tuple[fx.GraphModule, list[Part]]:
    """Return a network up to the last of some parts and an activation that follows, and those parts of it.

    Args:
        model: the network.
        graph: its graph, which is used up.
        kept: parts of the network, from the image on.
    """
    traced, kept, last = fx.GraphModule(model, graph), list(kept), calls(graph, kept[-1])[-1]
    activation = _activation_after(model, last)
    if activation:
        last = activation
        if last.op == "call_module":
            kept[-1] = replace(kept[-1], prefixes=(*kept[-1].prefixes, str(last.target)))
    for node in reversed(list(graph.nodes)):
        if node is last:
            break
        graph.erase_node(node)
    graph.output(last)
    graph.eliminate_dead_code()
    front = fx.GraphModule(traced, graph, type(model).__name__)
    left = {*dict(front.named_modules()), *dict(front.named_parameters()), *dict(front.named_buffers())}
    return front, [replace(part, prefixes=tuple(p for p in part.prefixes if p in left)) for part in kept]


def lengthen(front: fx.GraphModule, chain: Sequence[tuple[str, nn.Module]]) -> None:
    """Add modules, by name, after a network's answer, one after the other."""
    output = front.graph.output_node()
    for name, module in chain:
        front.add_module(name, module)
        with front.graph.inserting_before(output):
            output.args = (front.graph.call_module(name, output.args),)
    front.recompile()


def tokens_read(model: nn.Module, graph: fx.Graph, last: Part, head: str, images: Tensor, tokens: int) -> range:
    """Return which of the last stage's tokens a classifier's answer depends on.

    Args:
        model: the network.
        graph: its graph, which is used up.
        last: the part before the head.
        head: the name of the classifier's last layer.
        images: to find out with.
        tokens: how many there are; all are returned if the last stage has another number of them.
    """
    before_head = calls(graph, Part("head", (head,)))[0].args[0]
    graph.output_node().args = ((before_head, *calls(graph, last)),)
    with torch.enable_grad():
        read, *answers = fx.GraphModule(model, graph)(images.clone().requires_grad_())
        answers = [answer for answer in answers if isinstance(answer, Tensor) and answer.shape[1:-1] == (tokens,)]
        if not answers:
            return range(tokens)
        (slope,) = torch.autograd.grad((read * torch.randn_like(read)).sum(), answers[-1], allow_unused=True)
    places = [] if slope is None else slope.abs().amax((0, 2)).nonzero().flatten().tolist()
    return range(min(places), max(places) + 1) if places else range(tokens)


class _PartTracer(fx.Tracer):
    """Records a forward pass without looking into the modules of the parts.

    Conditions on shapes and the lengths of tuples are those of the images that it is given.
    """

    def __init__(self, parts: Sequence[Part], images: Tensor) -> None:
        super().__init__()
        self._parts = parts
        self._images = images
        self._running = False

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Return whether a call of the module is recorded as such."""
        return any(part.owns(name) for part in self._parts) or super().is_leaf_module(module, name)

    def create_args_for_root(self, root_fn: Any, *_: Any, **__: Any) -> tuple[Any, list[Any]]:
        """Return the arguments of the forward pass: images; any others have their default values."""
        return root_fn, [self.root, self.create_proxy("placeholder", "images", (), {})]

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Return what a condition comes to, unless that depends on the values of tensors."""
        value = self._value(obj)
        return super().to_bool(obj) if isinstance(value, Tensor) else bool(value)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """Return the members of a tuple."""
        value, members = self._value(obj), obj  # type: Any, Any
        return iter([members[i] for i in range(len(value))]) if isinstance(value, tuple | list) else super().iter(obj)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], *rest: Any) -> Any:
        """Record a module's call, or run it while a value is looked up."""
        if self._running:
            args, kwargs = rest
            return forward(*args, **kwargs)
        return super().call_module(m, forward, *rest)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Record the use of a parameter, or return it while a value is looked up."""
        return attr_val if self._running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def _value(self, proxy: fx.Proxy) -> Any:
        """Return what a proxy stands for, by running what is recorded so far."""
        copies: dict[fx.Node, fx.Node] = {}
        graph = fx.Graph()
        graph.graph_copy(self.graph, copies)
        graph.output(copies[proxy.node])
        self._running = True
        try:
            with torch.no_grad():
                return fx.GraphModule(self.root, graph)(self._images)
        finally:
            self._running = False


def _activation_after(model: nn.Module, node: fx.Node) -> fx.Node | None:
    follower = next(iter(node.users), None)
    if follower is None or len(node.users) > 1:
        return None
    called = type(model.get_submodule(str(follower.target))) if follower.op == "call_module" else follower.target
    return follower if str(getattr(called, "__name__", called)).lower() in ACTIVATIONS else None
