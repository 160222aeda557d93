"""A network in two at its thaw line: what is frozen, and what comes after it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import Tensor, fx, nn

from tasks.backbones.architecture import Part
from tasks.strategies.freezing import NORMS_WITH_STATISTICS, FreezePlan
from tasks.strategies.graphs import NotDivisibleError, trace
from tasks.strategies.selectors import AUXILIARY


@dataclass(frozen=True)
class Halves:
    """A network's forward pass in two; both have the network's own modules, and train and change with it.

    Attributes:
        frozen: takes normalised images, answers the activation at the thaw line.
        rest: takes that activation, answers logits of shape (batch, classes).
    """

    frozen: fx.GraphModule
    rest: fx.GraphModule


def names_that_train(plan: FreezePlan, epoch: int) -> frozenset[str]:
    """Return the names of the parameters, buffers and modules of the groups that train in an epoch."""
    rates = plan.rates(epoch)
    groups = [group for group in plan.groups if group.name in rates]
    return frozenset(name for g in groups for name in (*g.parameters, *g.buffers, *g.modules))


def divide(model: nn.Module, parts: Sequence[Part], trains: Collection[str], images: Tensor) -> Halves | None:
    """Cut a network where the first of what trains begins to matter.

    Args:
        model: the network, left in evaluation mode.
        parts: of the network; no cut goes through a module that they name.
        trains: names of the parameters, buffers and modules that train.
        images: a normalised batch of the working size.

    Returns:
        Nothing where no single activation divides what is frozen from what trains: because training starts with the
        first layer, because the forward pass can't be traced, or because an auxiliary classifier trains, too.
    """
    if any(part.name == AUXILIARY and any(part.owns(name) for name in trains) for part in parts):
        return None
    try:
        graph = trace(model, parts, images)
    except NotDivisibleError:
        return None
    frozen = _frozen_nodes(model, graph, trains)
    line = [node for node in frozen if node.op != "get_attr" and any(user not in frozen for user in node.users)]
    if len(line) != 1 or line[0].op == "placeholder":
        return None
    return Halves(_until(model, graph, frozen, line[0]), _after(model, graph, frozen, line[0]))


def _frozen_nodes(model: nn.Module, graph: fx.Graph, trains: Collection[str]) -> dict[fx.Node, None]:
    """Return the nodes whose answer can't change, in their order.

    A norm that trains takes the layer before it along: it may be folded into a convolution there.
    """

    def moves(node: fx.Node) -> bool:
        target = str(node.target)
        return node.op in {"call_module", "get_attr"} and any(
            name == target or name.startswith(f"{target}.") for name in trains
        )

    def is_norm(node: fx.Node) -> bool:
        return node.op == "call_module" and isinstance(model.get_submodule(str(node.target)), NORMS_WITH_STATISTICS)

    frozen: dict[fx.Node, None] = {}
    for node in graph.nodes:
        moved = moves(node) or any(is_norm(user) and moves(user) for user in node.users)
        if node.op != "output" and not moved and all(source in frozen for source in node.all_input_nodes):
            frozen[node] = None
    return frozen


def _until(model: nn.Module, graph: fx.Graph, frozen: Collection[fx.Node], line: fx.Node) -> fx.GraphModule:
    copies: dict[fx.Node, fx.Node] = {}
    front = fx.Graph()
    for node in graph.nodes:
        if node in frozen:
            copies[node] = front.node_copy(node, copies.__getitem__)
    front.output(copies[line])
    return fx.GraphModule(model, front)


def _after(model: nn.Module, graph: fx.Graph, frozen: Collection[fx.Node], line: fx.Node) -> fx.GraphModule:
    back = fx.Graph()
    copies = {line: back.placeholder("activation")}
    for node in graph.nodes:
        if node not in frozen or node.op == "get_attr":
            copies[node] = back.node_copy(node, copies.__getitem__)
    return fx.GraphModule(model, back)
