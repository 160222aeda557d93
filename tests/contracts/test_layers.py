"""Who may import whom, read from the source itself."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("data", "backbones", "strategies", "training", "evaluation", "serving", "comparison")
HOUSE = ("tasks", "flows")
# What is kept out of everything but the modules named.
KEPT = {"prefect": ("flows",), "mlflow": ("tasks.tracking",), "dvc": ("tasks.versioning",), "ray": ("flows",)}
OUT_OF_ROOMS = ("tasks.steps", "tasks.tracking", "tasks.versioning", "flows")


def is_in(module: str, packages: tuple[str, ...]) -> bool:
    """Return whether a module is one of the packages, or inside one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def module_of(file: Path, root: Path) -> str:
    """Return the dotted name of a source file."""
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported(tree: ast.AST, module: str, *, package: bool) -> Iterator[tuple[str, str, str]]:
    """Yield, for every import anywhere in a source, the module it names, the name taken from it, and the alias."""
    for node in ast.walk(tree):
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


def is_private(name: str) -> bool:
    """Return whether a name belongs to its module alone."""
    return name.startswith("_") and not name.startswith("__")


def wrongs(source: str, module: str, *, package: bool = False) -> list[str]:
    """Return what a source imports or reaches into without leave."""
    tree, found, ours = ast.parse(source), [], set()
    in_room = is_in(module, tuple(f"tasks.{room}" for room in ROOMS))
    for base, name, alias in imported(tree, module, package=package):
        targets = (base, f"{base}.{name}") if name else (base,)
        for library, allowed in KEPT.items():
            if is_in(base, (library,)) and not is_in(module, allowed):
                found.append(f"{module} imports {library}")
        if is_in(module, ("tasks",)) and any(is_in(target, ("flows",)) for target in targets):
            found.append(f"{module} imports flows")
        if in_room:
            found += [f"{module} imports {out}" for out in OUT_OF_ROOMS if any(is_in(t, (out,)) for t in targets)]
        if any(is_private(part) for part in (*base.split("."), name)):
            found.append(f"{module} imports the private {base}.{name}")
        if is_in(base, HOUSE):
            ours.add(alias)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and ast.unparse(node.value) in ours:
            found.append(f"{module} reaches into {ast.unparse(node)}")
    return found


SOURCES = sorted(file for folder in HOUSE for file in (ROOT / folder).rglob("*.py"))


def test_the_sources_are_found() -> None:
    """Every room and the flows have sources that the contract is checked on."""
    modules = {module_of(file, ROOT) for file in SOURCES}
    assert {"tasks.steps", "tasks.tracking", "tasks.versioning"} <= modules
    for package in ("flows", *(f"tasks.{room}" for room in ROOMS)):
        assert sum(is_in(module, (package,)) for module in modules) > 1


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: module_of(file, ROOT))
def test_layers(file: Path) -> None:
    """Orchestration, tracking and versioning stay where they belong, and private names private."""
    text = file.read_text(encoding="utf-8")
    assert wrongs(text, module_of(file, ROOT), package=file.name == "__init__.py") == []


@pytest.mark.parametrize("library", KEPT)
def test_the_kept_libraries_are_used_where_they_are_allowed(library: str) -> None:
    """The one place that may import a library does import it, so that the rule is about something."""
    users = {
        module_of(file, ROOT)
        for file in SOURCES
        for base, _, _ in imported(ast.parse(file.read_text(encoding="utf-8")), module_of(file, ROOT), package=False)
        if is_in(base, (library,))
    }
    assert users
    assert all(is_in(user, KEPT[library]) for user in users)


@pytest.mark.parametrize(
    ("source", "module", "complaint"),
    [
        ("import prefect", "tasks.steps", "imports prefect"),
        ("from prefect.states import Failed", "tasks.__main__", "imports prefect"),
        ("def f():\n    import mlflow.entities", "tasks.training.loop", "imports mlflow"),
        ("import mlflow", "flows.chain", "imports mlflow"),
        ("from dvc.repo import Repo", "tasks.steps", "imports dvc"),
        ("from tasks import tracking", "tasks.training.loop", "imports tasks.tracking"),
        ("from tasks.tracking import start_run", "tasks.data.manifest", "imports tasks.tracking"),
        ("from .. import steps", "tasks.comparison.report", "imports tasks.steps"),
        ("from ..versioning import x", "tasks.backbones.zoo", "imports tasks.versioning"),
        ("from flows import chain", "tasks.evaluation.metrics", "imports flows"),
        ("import flows.chain", "tasks.steps", "imports flows"),
        ("from tasks.files import _FULL", "tasks.steps", "private tasks.files._FULL"),
        ("from somewhere import _inner", "flows.chain", "private somewhere._inner"),
        ("from tasks.training import loop\nloop._named(1, 2)", "tasks.steps", "reaches into loop._named"),
        ("import tasks.files\ntasks.files._FULL", "tasks.steps", "reaches into tasks.files._FULL"),
    ],
)
def test_the_contract_can_be_broken(source: str, module: str, complaint: str) -> None:
    """Each rule finds the module that breaks it."""
    assert any(complaint in wrong for wrong in wrongs(source, module))


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import prefect", "flows.chain"),
        ("import mlflow.entities", "tasks.tracking"),
        ("import dvc.repo", "tasks.versioning"),
        ("from tasks import tracking, versioning", "tasks.steps"),
        ("from __future__ import annotations\nimport prefectionist, dvclive", "tasks.data.splits"),
        ("class A:\n    def f(self):\n        return self._own + self.__class__.__name__", "tasks.data.splits"),
        ("from tasks.errors import UserError\nfrom .pixels import decode", "tasks.data.manifest"),
    ],
)
def test_the_contract_lets_through_what_it_should(source: str, module: str) -> None:
    """Nothing is complained of that the rules allow."""
    assert wrongs(source, module) == []


def test_flows_start_without_what_trains() -> None:
    """What is imported before the first stage that has to run is little: nothing to do is said in seconds."""
    program = "import sys, flows.compare, flows.retrain, flows.predict; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"torch", "mlflow", "sklearn", "scipy", "matplotlib"}.isdisjoint(done.stdout.split())
