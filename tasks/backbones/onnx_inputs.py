"""What the graph of an ONNX file takes: images of which size and layout, and how many."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

IMAGE_CHANNELS = 3


class UnfitError(Exception):
    """A graph is no classifier of images; says why."""


def fixed_size(model: "ModelProto") -> int:
    """Return the height and width that a graph's input states; 0 if it states none."""
    dims = inputs_of(model.graph)[0].type.tensor_type.shape.dim
    sides = {dims[place].dim_value for place in sides_of(model.graph)}
    return int(sides.pop()) if len(sides) == 1 else 0


def fixed_batch(model: "ModelProto") -> int:
    """Return the number of images that a graph's input states; 0 if it states none."""
    return int(inputs_of(model.graph)[0].type.tensor_type.shape.dim[0].dim_value)


def has_channels_last(model: "ModelProto") -> bool:
    """Return whether a graph takes images of shape (batch, height, width, channels), as Keras does."""
    return sides_of(model.graph) == (1, 2)


def inputs_of(graph: "GraphProto") -> list[Any]:
    """Return the inputs of a graph without its constants, which old files list, too."""
    constant = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constant]


def sides_of(graph: "GraphProto") -> tuple[int, int]:
    """Return the places of height and width in the shape of the input.

    Raises:
        UnfitError: it is no batch of RGB images.
    """
    value = inputs_of(graph)[0]
    dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if len(dims) == 4 and dims[1] == IMAGE_CHANNELS:
        return (2, 3)
    if len(dims) == 4 and dims[3] == IMAGE_CHANNELS:
        return (1, 2)
    shape = ", ".join(str(dim or "?") for dim in dims)
    raise UnfitError(f"takes '{value.name}' of shape ({shape}), where RGB images have four dimensions, one of them 3")
