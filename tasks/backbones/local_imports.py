"""The source files that a module of the user's is made of: its own, and those that it imports from its folder."""

import ast
from pathlib import Path


def imported(files: list[Path], folder: Path) -> list[Path]:
    """Return the source files below a folder that some files import, and these in turn, sorted; without the files.

    Only imports that are written as such are seen. This project's own code is not among them.

    Args:
        files: of Python source; one that is no valid Python imports nothing.
        folder: the one that is imported from.
    """
    reached, waiting = set(files), list(files)
    while waiting:
        for name in _top_names(waiting.pop()):
            new = set(source_files(name, folder)) - reached
            reached |= new
            waiting += new
    return sorted(reached - set(files))


def source_files(name: str, folder: Path) -> list[Path]:
    """Return the files of a package or a module in a folder, sorted; none where it is somewhere else."""
    if name in {"tasks", "flows"}:
        return []
    package, module = folder / name, folder / f"{name}.py"
    if package.is_dir():
        return sorted(package.rglob("*.py"))
    return [module] if module.is_file() else []


def _top_names(file: Path) -> set[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.partition(".")[0])
    return names
