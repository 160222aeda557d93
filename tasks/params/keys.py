"""The keys of ``params.yaml`` for those who look them up: what each may be, its default, what it means."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_origin

from tasks.params.loading import Params, section_of
from tasks.params.schema import schema_of_params
from tasks.params.section import Section
from tasks.params.strategies import StrategyParams
from tasks.params.train import SharedParams, TrainParams
from tasks.params.wording import allowed, literal

PLACEHOLDERS = {dict: "NAME", tuple: "N"}  # the name that the user gives, the place in a list
FOR_ALL = tuple(key for key in SharedParams.model_fields if key not in TrainParams.model_fields)  # strategies alike


@dataclass(frozen=True)
class Key:
    """A key of a section.

    Attributes:
        name: as it is written.
        values: what it may be, in words; empty where it has keys of its own.
        default: what it is where it is left out, as it stands in YAML, or in words.
        meaning: in Markdown.
        is_shared: whether a strategy has it from ``train``.
        section: what the key holds, where that has keys of its own.
        between: what stands in a path between the key and those within: the name of a strategy, a place in a list.
    """

    name: str
    values: str
    default: str
    meaning: str
    is_shared: bool
    section: type[Section] | None
    between: str


def keys_of(section: type[Section], code: Callable[[str], str] = str) -> list[Key]:
    """Return the keys of a section, in their order.

    Args:
        section: of ``params.yaml``, or all of it.
        code: how a value that is written as it stands is set off from the words around it.
    """
    schema = _schema()
    described = schema if section is Params else schema["definitions"][section.__name__]
    keys = []
    for name, field in section.model_fields.items():
        node, inner = described["properties"][name], section_of(field.annotation)
        is_shared = section is StrategyParams and name in TrainParams.model_fields
        keys.append(
            Key(
                name,
                values="" if inner else allowed(_without_null(node), code=code),
                default="as in train" if is_shared else _default(field.is_required(), node, code),
                meaning=node["description"],
                is_shared=is_shared,
                section=inner,
                between=PLACEHOLDERS.get(get_origin(field.annotation) or str, ""),
            )
        )
    return keys


def paths(section: type[Section] = Params, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Key]]:
    """Yield every key below a section with its path, each before those within it."""
    for key in keys_of(section):
        path = (*above, key.name)
        yield path, key
        if key.section:
            yield from paths(key.section, (*path, key.between) if key.between else path)


@cache
def _schema() -> dict[str, Any]:
    return schema_of_params()


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    """Return what may be written besides ``null``, which says the same as to leave a key out."""
    kinds = [kind for kind in node.get("anyOf", []) if kind != {"type": "null"}]
    return node | {"anyOf": kinds} if kinds else node


def _default(is_required: bool, node: dict[str, Any], code: Callable[[str], str]) -> str:
    if is_required:
        return "required"
    if "default" not in node:
        return "those of its keys"
    return "unset" if node["default"] in (None, "", {}, []) else code(literal(node["default"]))
