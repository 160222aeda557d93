"""The figures of a small tree that was planted."""

from pathlib import Path

import pytest

from tests.benchmarks.structure import Structure, measure, table

PLANTED = {
    "tasks/__init__.py": '"""A package."""\n',
    "tasks/facade/__init__.py": '"""A facade."""\n\nfrom tasks.facade.inner import found\n\n__all__ = ["found"]\n',
    "tasks/facade/inner.py": "def found(own):\n    return own.told\n",
    "tasks/first.py": "def f():\n    from tasks import second\n\n    return second\n",
    "tasks/second.py": "def g():\n    from tasks.third import x\n\n    return x(rank=1)\n",
    "tasks/third.py": "import tasks.first\n\n\nclass A:\n    def x(self):\n        pass\n",
    "tasks/typed.py": (
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from tasks.untyped import y\n"
        "else:\n    from tasks import first\n"
    ),
    "tasks/untyped.py": "from . import typed\n",
    "flows/__init__.py": "import os\n\nos.environ['A'] = 'b'\n",
    "flows/long.py": "# one found own\n" * 400,
}


@pytest.fixture
def planted(tmp_path: Path) -> Structure:
    """The figures of the planted tree."""
    for name, text in PLANTED.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "README.md").write_text("one\ntwo\n", encoding="utf-8")
    return measure(tmp_path)


def test_a_circle_within_functions_is_seen(planted: Structure) -> None:
    """Three modules import each other, two of them when they are called; what only type checkers read is no import."""
    assert planted.circles == [["tasks.first", "tasks.second", "tasks.third"]]
    assert planted.imports_by_module["tasks.untyped"] == 1
    assert planted.imports_by_module["tasks.typed"] == 1


def test_a_facade_has_no_code(planted: Structure) -> None:
    """A docstring, imports and ``__all__`` are none; a statement is."""
    assert planted.code_in_init == ["flows/__init__.py"]


def test_lines_are_counted(planted: Structure) -> None:
    """Of files, of functions, and of the README."""
    assert next(iter(planted.lines_by_file.items())) == ("flows/long.py", 400)
    assert planted.large == 1
    assert planted.lines_by_function["tasks/third.py:A.x"] == 2
    assert next(iter(planted.lines_by_function.items())) == ("tasks/first.py:f", 4)
    assert planted.readme == 2


def test_words_count_where_they_are_identifiers(planted: Structure) -> None:
    """As the name of a function, an argument, an attribute and a keyword, and not in comments."""
    counted = {word: planted.private[word] for word in ("found", "own", "told", "one")}
    assert counted == {"found": 1, "own": 2, "told": 1, "one": 0}
    assert planted.standard["rank"] == 1


def test_checkouts_stand_side_by_side(planted: Structure) -> None:
    """A column each."""
    (line,) = [line for line in table({"before": planted, "after": planted}).splitlines() if "import circles" in line]
    assert line.split() == ["import", "circles", "1", "1"]
