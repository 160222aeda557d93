"""Graphs of ONNX files in the form that converting them to torch needs: simplified, of one operator set, trainable."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.backbones.onnx_inputs import UnfitError, inputs_of, sides_of

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

DOMAIN = "thawline"  # of the operators that tasks.backbones.onnx_layers makes layers of
OPSET = 17  # the last of which onnx2torch knows every operator's version
BATCH = 1009  # stands for any number of images while shapes are worked out: sides that it divides hold the batch
_REDUCTIONS = "Reduce"
_RESHAPES = ("Reshape", "Squeeze", "Unsqueeze")
_BY_VALUE = {"Add": "Shift", "Mul": "Scale"}
_FINAL = ("Softmax", "LogSoftmax")


def prepare(model: "ModelProto", size: int) -> "ModelProto":
    """Return a graph that takes images of shape (batch, channels, height, width) and answers logits.

    It is made for one size: constants and shapes are worked out. Layers that a file spells out are put together: a
    product with a constant matrix and the sum that follows are ``Linear``, shifts and scales by constants after the
    first convolution are ``Shift`` and ``Scale``. A softmax at the end is left out.

    Raises:
        UnfitError: the graph has several inputs or outputs, or its input is no batch of RGB images.
    """
    import onnx
    import onnxscript.optimizer

    _only_constants_beside_the_input(model.graph)
    sides = sides_of(model.graph)
    _state_shapes(model.graph, sides, size)
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    model = onnxscript.optimizer.optimize(model)
    while _fill_constants(model.graph):  # which the optimizer leaves to the runtime
        model = onnxscript.optimizer.optimize(model)
    model = onnx.shape_inference.infer_shapes(model)
    graph = model.graph
    nodes = list(graph.node)
    constants = _constants(graph)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    }
    for node in nodes:
        _restate(node, constants, shapes.get(node.output[0], []))
    nodes = _without_final_softmax(nodes, graph)
    nodes = list(_with_layers(nodes, constants))
    if sides == (1, 2):
        nodes = _from_channels_first(nodes, graph)
    for place, node in enumerate(nodes):
        node.name = f"{node.op_type.lower()}_{place}"
    used = {name for node in nodes for name in node.input}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(onnx.numpy_helper.from_array(constants[name], name) for name in constants if name in used)
    del model.opset_import[:]
    model.opset_import.extend([onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid(DOMAIN, 1)])
    return model


def _only_constants_beside_the_input(graph: "GraphProto") -> None:
    inputs = inputs_of(graph)
    for what, values in (("inputs", inputs), ("outputs", list(graph.output))):
        if len(values) != 1:
            raise UnfitError(
                f"has {len(values)} {what} ({', '.join(value.name for value in values)}), where a classifier has one"
            )
    if len(graph.input) > 1:  # files from before version 4 of the format list their constants, too
        del graph.input[:]
        graph.input.extend(inputs)


def _constants(graph: "GraphProto") -> dict[str, Any]:
    from onnx import numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return constants


def _fill_constants(graph: "GraphProto") -> bool:
    """Put constants in the place of nodes that make one of a constant shape; return whether there were any."""
    from onnx import numpy_helper

    constants = _constants(graph)
    filling = [node for node in graph.node if node.op_type == "ConstantOfShape" and node.input[0] in constants]
    for node in filling:
        value = numpy_helper.to_array(node.attribute[0].t) if node.attribute else np.zeros(1, dtype=np.float32)
        filled = np.full(constants[node.input[0]], value[0], dtype=value.dtype)
        graph.initializer.append(numpy_helper.from_array(filled, node.output[0]))
        graph.node.remove(node)
    return bool(filling)


def _state_shapes(graph: "GraphProto", sides: tuple[int, int], size: int) -> None:
    """Give the input its size, and a batch that is found again in every shape."""
    from onnx import TensorProto, helper, numpy_helper

    dims = graph.input[0].type.tensor_type.shape.dim
    stated = dims[0].dim_value
    dims[0].dim_value = BATCH
    for place in sides:
        dims[place].dim_value = size
    graph.output[0].type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    constants = _constants(graph)
    for node in graph.node:
        values = constants.get(node.input[0]) if node.op_type == "Expand" else None
        if values is not None and values.ndim > 1 and values.shape[0] == 1 and values.dtype == np.float32:
            _become(node, "Repeat", [graph.input[0].name, node.input[0]])
            repeated = [BATCH, *values.shape[1:]]
            graph.value_info.append(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, repeated))
            continue
        shape = constants.get(node.input[1]) if node.op_type in {"Reshape", "Expand"} else None
        if stated and shape is not None and shape.size and shape[0] == stated:
            opened = np.concatenate([[BATCH], shape[1:]])
            node.input[1] = f"{node.output[0]}/shape"
            graph.initializer.append(numpy_helper.from_array(opened, node.input[1]))


def _restate(node: "NodeProto", constants: dict[str, Any], shape: Sequence[int]) -> None:
    """Put a node of a later operator set into the words of the one that is converted, with shapes as plain numbers.

    Args:
        node: changed in place.
        constants: by name.
        shape: of its first output, as far as it is known.
    """
    from onnx import helper

    given: list[Any] = [constants.get(name) for name in node.input[1:]]
    known = all(constant is not None or not name for constant, name in zip(given, node.input[1:], strict=True))
    if node.op_type.startswith(_REDUCTIONS) and node.op_type != "ReduceSum" and len(node.input) == 2 and known:
        del node.input[1]
        node.attribute.append(helper.make_attribute("axes", given[0].tolist()))
    elif node.op_type in _RESHAPES and shape and 0 not in shape:
        _become(node, "Reshape", node.input[:1], shape=[-1 if side % BATCH == 0 else side for side in shape])
    elif node.op_type == "Slice" and known:
        starts, ends, *more = given
        axes = more[0] if more and more[0] is not None else np.arange(len(starts))
        steps = more[1] if len(more) > 1 else np.ones_like(starts)
        limits = {"starts": starts, "ends": np.clip(ends, -(2**62), 2**62), "axes": axes, "steps": steps}
        _become(node, "Slice", node.input[:1], **{name: limit.tolist() for name, limit in limits.items()})
    elif node.op_type == "Split" and len(given) == 1 and known:
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        _become(node, "Split", node.input[:1], sizes=given[0].tolist(), axis=axis)
    elif node.op_type == "Gelu":
        approximate = next((a.s.decode() for a in node.attribute if a.name == "approximate"), "none")
        _become(node, "Gelu", node.input[:1], approximate=approximate)


def _become(node: "NodeProto", operator: str, inputs: Sequence[str], **attributes: Any) -> None:
    from onnx import helper

    names = list(inputs)
    node.op_type, node.domain = operator, DOMAIN
    del node.input[:], node.attribute[:]
    node.input.extend(names)
    node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())


def _without_final_softmax(nodes: "list[NodeProto]", graph: "GraphProto") -> "list[NodeProto]":
    last = next((node for node in nodes if graph.output[0].name in node.output), None)
    if last is None or last.op_type not in _FINAL:
        return nodes
    graph.output[0].name = last.input[0]
    return [node for node in nodes if node is not last]


def _with_layers(nodes: "list[NodeProto]", constants: dict[str, Any]) -> "Iterator[NodeProto]":
    """Yield nodes where what trains is a layer's."""
    users: dict[str, list[NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            users.setdefault(name, []).append(node)
    joined: list[NodeProto] = []
    convolved = False
    for node in nodes:
        convolved = convolved or node.op_type == "Conv"
        if node in joined:
            continue
        weight = constants.get(node.input[1]) if len(node.input) > 1 else None
        if node.op_type == "MatMul" and weight is not None and weight.ndim == 2:
            names, output = [node.input[0], node.input[1]], node.output[0]
            follower = users[output][0] if len(users.get(output, [])) == 1 else None
            bias = _other_input(follower, output) if follower is not None and follower.op_type == "Add" else None
            if follower is not None and bias in constants and constants[bias].shape == weight.shape[1:]:
                names.append(bias)
                joined.append(follower)
                node.output[0] = follower.output[0]
            _become(node, "Linear", names)
        elif node.op_type in _BY_VALUE and convolved:
            trains = [name for name in node.input if name in constants and constants[name].size > 1]
            if len(trains) == 1 and constants[trains[0]].dtype == np.float32:
                _become(node, _BY_VALUE[node.op_type], [_other_input(node, trains[0]), trains[0]])
        yield node


def _other_input(node: "NodeProto", name: str) -> str:
    return str(node.input[1] if node.input[0] == name else node.input[0])


def _from_channels_first(nodes: "list[NodeProto]", graph: "GraphProto") -> "list[NodeProto]":
    """Put what turns images channels last before a graph that takes them so."""
    from onnx import helper

    given = graph.input[0].name
    turned = f"{given}/channels_last"
    for node in nodes:
        node.input[:] = [turned if name == given else name for name in node.input]
    dims = graph.input[0].type.tensor_type.shape.dim
    before = [type(dim).FromString(dim.SerializeToString()) for dim in dims]
    for dim, place in zip(dims, (0, 3, 1, 2), strict=True):
        dim.CopyFrom(before[place])
    return [helper.make_node("Transpose", [given], [turned], perm=[0, 2, 3, 1]), *nodes]
