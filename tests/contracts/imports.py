"""Which module of the house imports which, read from the source itself."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import connected_components

from tests.support.paths import ROOT

HOUSE = ("tasks", "flows")
SOURCES = sorted(file for folder in HOUSE for file in (ROOT / folder).rglob("*.py"))

Graph = Mapping[str, set[str]]  # the modules that a module imports


def is_in(module: str, packages: Iterable[str]) -> bool:
    """Return whether a module is one of the packages, or inside one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def module_of(file: Path, root: Path = ROOT) -> str:
    """Return the dotted name of a source file."""
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported(
    tree: ast.AST, module: str, *, package: bool, types: bool = True
) -> Iterator[tuple[str, str, str]]:  # fmt: skip
    """Yield, for every import anywhere in a source, the module it names, the name taken from it, and the alias.

    Args:
        tree: the source.
        module: its dotted name.
        package: whether it is the ``__init__`` of a package.
        types: whether imports count that only type checkers follow.
    """
    for node in _nodes(tree, types=types):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", alias.asname or alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + package]
                base = ".".join([*parts, *([node.module] if node.module else [])])
            for alias in node.names:
                yield base, alias.name, alias.asname or alias.name


def import_graph(files: Iterable[Path] = SOURCES, root: Path = ROOT) -> Graph:
    """Return which modules import which when they run, those inside their functions included."""
    sources = {module_of(file, root): file for file in files}
    graph = {}
    for module, file in sources.items():
        tree, package = ast.parse(file.read_text(encoding="utf-8")), file.name == "__init__.py"
        names = [(base, f"{base}.{name}") for base, name, _ in imported(tree, module, package=package, types=False)]
        graph[module] = {inner if inner in sources else base for base, inner in names} & sources.keys() - {module}
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Return the groups of modules that all reach each other (strongly connected components)."""
    modules = sorted(graph)
    edges = np.array([[target in graph[module] for target in modules] for module in modules])
    _, groups = connected_components(edges, connection="strong")
    members = [[modules[place] for place in np.flatnonzero(groups == group)] for group in set(groups.tolist())]
    return sorted(group for group in members if len(group) > 1)


def reached(graph: Graph, start: str, without: Iterable[str] = ()) -> set[str]:
    """Return a module and all that it imports, directly or through others, but not through those left out."""
    ahead, met = [start], set[str]()
    without = tuple(without)
    while ahead:
        module = ahead.pop()
        if module not in met and not is_in(module, without):
            met.add(module)
            ahead += graph[module]
    return met


def _nodes(node: ast.AST, *, types: bool) -> Iterator[ast.AST]:
    yield node
    is_for_types = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    for child in node.orelse if isinstance(node, ast.If) and is_for_types and not types else ast.iter_child_nodes(node):
        yield from _nodes(child, types=types)
