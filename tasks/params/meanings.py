"""What sections and keys mean: the docstrings of their classes, and those below each key, read where asked for."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise

from tasks.params.loading import section_of
from tasks.params.section import Section


def sections(section: type[Section]) -> Iterator[type[Section]]:
    """Yield a section and those within, each once, in the order of the keys."""
    yield section
    seen = {section}
    for field in section.model_fields.values():
        inner = section_of(field.annotation)
        for within in sections(inner) if inner else ():
            if within not in seen:
                seen.add(within)
                yield within


def meanings(section: type[Section]) -> dict[str, str]:
    """Return what each key of a section means, in Markdown; those that it inherits included."""
    texts: dict[str, str] = {}
    for kind in reversed(section.__mro__):
        if issubclass(kind, Section) and kind is not Section:
            texts |= _attribute_docstrings(kind)
    return texts


def purpose(section: type[Section]) -> str:
    """Return what a section is for, in Markdown."""
    return _markdown((inspect.getdoc(section) or "").partition("Example:\n")[0])


def example(section: type[Section]) -> str:
    """Return lines of ``params.yaml`` that use a section; empty where it has none."""
    return textwrap.dedent((inspect.getdoc(section) or "").partition("Example:\n")[2])


def _attribute_docstrings(kind: type[Section]) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    texts = {}
    for key, below in pairwise(definition.body if isinstance(definition, ast.ClassDef) else ()):
        if isinstance(key, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            texts[ast.unparse(key.target)] = _markdown(str(below.value.value))
    return texts


def _markdown(docstring: str) -> str:
    return " ".join(docstring.split()).replace("``", "`")
