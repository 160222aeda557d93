"""Who may import whom, and what a package's ``__init__`` may hold, read from the source itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.imports import HOUSE, SOURCES, circles, import_graph, imported, is_in, module_of, reached
from tests.support.paths import ROOT

# From the ground up: a module imports what is on floors below, or in its own room.
FLOORS = (
    ("tasks.arrays", "tasks.errors", "tasks.record", "tasks.wording"),
    ("tasks.environment", "tasks.layout", "tasks.progress", "tasks.stopping"),
    ("tasks.files", "tasks.params"),
    ("tasks.exclusive", "tasks.data", "tasks.backbones"),
    ("tasks.strategies", "tasks.engines"),
    ("tasks.training",),
    ("tasks.evaluation",),
    ("tasks.comparison", "tasks.serving"),
    ("tasks.tracking", "tasks.versioning"),
    ("tasks.runs",),
    ("tasks.steps",),
    ("tasks.__main__", "flows"),
)
# What is kept out of everything but the modules named.
KEPT = {"prefect": ("flows",), "mlflow": ("tasks.tracking",), "dvc": ("tasks.versioning",), "ray": ("flows",)}
# Those set the environment's defaults before anything else is imported.
TOP = HOUSE


def room_of(module: str) -> tuple[int, str] | None:
    """Return the floor of a module, from the ground up, and its room; None: it is the house itself."""
    rooms = [(floor, room) for floor, rooms in enumerate(FLOORS) for room in rooms if is_in(module, (room,))]
    return rooms[0] if rooms else None


def is_below(target: str, module: str) -> bool:
    """Return whether a module may import another one."""
    above, below = room_of(module), room_of(target)
    return above is None or below is None or above[1] == below[1] or below[0] < above[0]


def is_private(name: str) -> bool:
    """Return whether a name belongs to its module alone."""
    return name.startswith("_") and not name.startswith("__")


def wrongs(source: str, module: str, *, package: bool = False) -> list[str]:
    """Return what a source imports or reaches into without leave."""
    tree, found, ours = ast.parse(source), [], set()
    for base, name, alias in imported(tree, module, package=package):
        targets = (base, f"{base}.{name}") if name else (base,)
        for library, allowed in KEPT.items():
            if is_in(base, (library,)) and not is_in(module, allowed):
                found.append(f"{module} imports {library}")
        found += [f"{module} imports {target}" for target in targets if not is_below(target, module)]
        if any(is_private(part) for part in (*base.split("."), name)):
            found.append(f"{module} imports the private {base}.{name}")
        if is_in(base, HOUSE):
            ours.add(alias)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and ast.unparse(node.value) in ours:
            found.append(f"{module} reaches into {ast.unparse(node)}")
    return found


def foreign_code(source: str, module: str) -> list[str]:
    """Return what the ``__init__`` of a package holds besides its docstring, imports and ``__all__``."""
    return [ast.unparse(node) for node in ast.parse(source).body if not _is_facade(node, module)]


def _is_facade(node: ast.stmt, module: str) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.Expr(value=ast.Call(func=function)):
            return module in TOP and ast.unparse(function) == "os.environ.setdefault"
    return False


def test_every_module_has_its_floor() -> None:
    """Each floor's rooms have sources, and no source stands outside of the house's order."""
    modules = {module_of(file) for file in SOURCES}
    assert all(any(is_in(module, (room,)) for module in modules) for rooms in FLOORS for room in rooms)
    assert {module for module in modules if room_of(module) is None} == set(HOUSE) - {"flows"}


@pytest.mark.parametrize("file", [file for file in SOURCES if file.name == "__init__.py"], ids=module_of)
def test_packages_hold_no_code(file: Path) -> None:
    """A package's ``__init__`` is a docstring, or a facade of the names that are there for others."""
    assert foreign_code(file.read_text(encoding="utf-8"), module_of(file)) == []


@pytest.mark.parametrize("code", ["X = 1", "def f(): ...", "class A: ...", "if True: import os", "os.environ.pop('A')"])
def test_code_in_a_package_is_found(code: str) -> None:
    """All that runs or defines something is foreign there."""
    facade = '"""A."""\nimport os\nfrom a import b\n__all__ = ["b"]\n'
    assert foreign_code(facade, "tasks.data") == []
    assert foreign_code(facade + "os.environ.setdefault('A', 'B')", "tasks") == []
    assert len(foreign_code(facade + code, "tasks")) == 1


def test_no_module_imports_itself_through_others() -> None:
    """Nowhere in the house, neither at the top of a module nor inside a function."""
    assert circles(import_graph()) == []


def test_circles_are_found(tmp_path: Path) -> None:
    """Through functions and packages, but not through what only type checkers read."""
    sources = {
        "tasks/__init__.py": "",
        "tasks/a.py": "from tasks import b\ndef f():\n    from tasks.c import g",
        "tasks/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tasks import a",
        "tasks/c.py": "import tasks.d.e",
        "tasks/d/__init__.py": "",
        "tasks/d/e.py": "from ..a import f",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    graph = import_graph(sorted(tmp_path.rglob("*.py")), tmp_path)
    assert circles(graph) == [["tasks.a", "tasks.c", "tasks.d.e"]]
    assert reached(graph, "tasks.c", without=["tasks.a"]) == {"tasks.c", "tasks.d.e"}


@pytest.mark.parametrize("file", SOURCES, ids=module_of)
def test_layers(file: Path) -> None:
    """Orchestration, tracking and versioning stay where they belong, and private names private."""
    text = file.read_text(encoding="utf-8")
    assert wrongs(text, module_of(file), package=file.name == "__init__.py") == []


@pytest.mark.parametrize("library", KEPT)
def test_the_kept_libraries_are_used_where_they_are_allowed(library: str) -> None:
    """The one place that may import a library does import it, so that the rule is about something."""
    users = {
        module_of(file)
        for file in SOURCES
        for base, _, _ in imported(ast.parse(file.read_text(encoding="utf-8")), module_of(file), package=False)
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
        ("from ..versioning import x", "tasks.backbones.weights", "imports tasks.versioning"),
        ("from tasks.training import loop", "tasks.data.store", "imports tasks.training"),
        ("from tasks.data import store", "tasks.files", "imports tasks.data"),
        ("from tasks.comparison import report", "tasks.serving.scores", "imports tasks.comparison"),
        ("from tasks.steps import compare", "tasks.runs.launch", "imports tasks.steps"),
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
