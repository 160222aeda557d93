"""Figures of the code's structure, of one checkout or of several side by side.

``python -m tests.benchmarks.structure [FOLDER …]``: the largest files and functions, imports and circles among them,
code in ``__init__.py`` files, and how often words of a private vocabulary, and of the field's own, are identifiers.
"""

import ast
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from tests.contracts.imports import circles, import_graph

PACKAGES = ("tasks", "flows")
LARGE, SHOWN = 350, 10  # lines of a file that is too large; rows of a list
PRIVATE = (
    "told", "gathered", "agreed", "first_alone", "helper", "whole", "like", "together", "shortcut", "shortcuts",
    "starting_point", "recompute", "recomputed", "origin", "news", "worth", "pareto", "racers", "crown", "adopt",
    "hopeless", "replacing", "alone", "link", "let_go", "found", "one", "own",
)  # fmt: skip
PRIVATE_MODULES = ("training/flips", "tracking/rows", "tracking/views")
STANDARD = (
    "world_size", "rank", "broadcast", "all_gather", "all_reduce", "rank_zero_first", "worker", "full_tensor",
    "shard_like", "step_task", "atomic_path", "register_champion", "set_parent", "dominated", "unmap",
)  # fmt: skip


@dataclass(frozen=True)
class Structure:
    """What is measured of a checkout.

    Attributes:
        files, lines: of the packages' Python.
        readme: lines of README.md.
        lines_by_file: of all files, the largest first.
        large: number of files of more than 350 lines.
        imports_by_module: how many modules of the project a module imports, also within functions; most first.
        lines_by_function: of all functions, the longest first.
        circles: modules that import each other, directly or not, also within functions.
        code_in_init: ``__init__.py`` files with more than a docstring, imports and ``__all__``.
        private, standard: how often each word is an identifier, or the name of a module.
    """

    files: int
    lines: int
    readme: int
    lines_by_file: dict[str, int]
    large: int
    imports_by_module: dict[str, int]
    lines_by_function: dict[str, int]
    circles: list[list[str]]
    code_in_init: list[str]
    private: dict[str, int]
    standard: dict[str, int]


def measure(root: Path) -> Structure:
    """Return the figures of the checkout in a folder."""
    paths = sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))
    texts = {path.relative_to(root): path.read_text(encoding="utf-8") for path in paths}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    imports = import_graph(paths, root)
    names = Counter(name for tree in trees.values() for name in identifiers(tree))
    stems = Counter(path.stem for path in trees)
    readme = root / "README.md"
    lines = {path.as_posix(): len(text.splitlines()) for path, text in texts.items()}
    functions = {f"{path.as_posix()}:{name}": size for path, tree in trees.items() for name, size in functions_of(tree)}
    return Structure(
        files=len(paths),
        lines=sum(lines.values()),
        readme=len(readme.read_text(encoding="utf-8").splitlines()) if readme.is_file() else 0,
        lines_by_file=_largest_first(lines),
        large=sum(size > LARGE for size in lines.values()),
        imports_by_module=_largest_first({name: len(targets) for name, targets in imports.items()}),
        lines_by_function=_largest_first(functions),
        circles=circles(imports),
        code_in_init=[path.as_posix() for path, tree in trees.items() if path.stem == "__init__" and has_code(tree)],
        private={word: names[word] + stems[word] for word in PRIVATE}
        | {module: int(any(name.endswith(f"{module}.py") for name in lines)) for module in PRIVATE_MODULES},
        standard={word: names[word] + stems[word] for word in STANDARD},
    )


def functions_of(tree: ast.AST, above: str = "") -> Iterator[tuple[str, int]]:
    """Yield the name and the number of lines of each function, from its ``def`` to its end."""
    for node in ast.iter_child_nodes(tree):
        name = above
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{above}.{node.name}" if above else node.name
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield name, (node.end_lineno or node.lineno) - node.lineno + 1
        yield from functions_of(node, name)


def has_code(tree: ast.Module) -> bool:
    """Return whether a package's file has more than a docstring, imports and ``__all__``."""
    return any(not _is_of_facade(node) for node in tree.body)


def _is_of_facade(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        return [ast.unparse(target) for target in node.targets] == ["__all__"]
    is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_docstring or isinstance(node, ast.Import | ast.ImportFrom)


def identifiers(tree: ast.AST) -> Iterator[str]:
    """Yield every identifier of a source, as often as it is written."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.keyword(arg=str(name)) | ast.alias(asname=str(name)):
                yield name


def _largest_first(sizes: dict[str, int]) -> dict[str, int]:
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def table(measured: dict[str, Structure]) -> str:
    """Return the figures of checkouts, a column each.

    Args:
        measured: by the name that heads the column.
    """
    structures = list(measured.values())
    width = max(12, *(len(name) for name in measured)) + 2

    def row(label: str, values: Iterable[object]) -> str:
        return f"  {label:<34}" + "".join(f"{value!s:>{width}}" for value in values)

    lines = [
        row("", measured),
        row("files", (structure.files for structure in structures)),
        row("lines", (structure.lines for structure in structures)),
        row(f"files over {LARGE} lines", (structure.large for structure in structures)),
        row("README's lines", (structure.readme for structure in structures)),
        row("import circles", (len(structure.circles) for structure in structures)),
        row("__init__ files with code", (len(structure.code_in_init) for structure in structures)),
    ]
    for kind in ("private", "standard"):
        words: dict[str, int] = getattr(structures[0], kind)
        totals = (sum(getattr(structure, kind).values()) for structure in structures)
        lines += ["", row(f"{kind} vocabulary", totals)]
        lines += [row(f"  {word}", (getattr(structure, kind)[word] for structure in structures)) for word in words]
    for name, structure in measured.items():
        lines += ["", f"  {name}", *_lists(structure)]
    return "\n".join(lines)


def _lists(structure: Structure) -> Iterator[str]:
    """Yield the lists of a checkout, the largest first."""
    largest = {
        "largest files (lines)": structure.lines_by_file,
        "longest functions (lines)": structure.lines_by_function,
        "most imports of project modules": structure.imports_by_module,
    }
    for title, sizes in largest.items():
        yield f"    {title}"
        yield from (f"    {size:>6}  {name}" for name, size in list(sizes.items())[:SHOWN])
    yield from (f"    circle: {' ↔ '.join(circle)}" for circle in structure.circles)
    yield from (f"    code in {path}" for path in structure.code_in_init)


def main(
    folders: Annotated[list[Path] | None, typer.Argument(help="Checkouts; none: this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
) -> None:
    """Print figures of the structure of one checkout, or of several side by side."""
    measured = {str(folder): measure(folder) for folder in folders or [Path()]}
    if as_json:
        typer.echo(json.dumps({name: asdict(structure) for name, structure in measured.items()}, indent=2))
    else:
        typer.echo(table(measured))


if __name__ == "__main__":
    typer.run(main)
