"""The page of ``params.yaml``: a table a section, and an example of each."""

from collections.abc import Iterator

from docs.reference.markdown import block, code, join, link, table
from tasks.params.keys import FOR_ALL, Key, keys_of, paths
from tasks.params.meanings import example, purpose
from tasks.params.section import Section

INTRODUCTION = """\
All that a comparison depends on stands in `params.yaml`, at the root of the repository. Only `data` and one strategy
must be there; what is left out has its default, and a misspelt key is an error that names the nearest one.

`python -m tasks params` prints the same in the terminal: `python -m tasks params train` lists the keys of a section,
`python -m tasks params lr` says what a key means. Editors that speak to a YAML language server complete keys and check
values by [params.schema.json](params.schema.json), which the first line of `params.yaml` names."""

STRATEGIES = f"""\
Each strategy has a name that you choose (letters, digits, `_` and `-`, 64 at most), below which these keys stand. Every
key of [train](#train) but {", ".join(map(code, FOR_ALL))} may stand there, too: it is then this strategy's own."""


def page() -> str:
    """Return the page."""
    sections = [part for path, key in paths() if key.section for part in _section(path, key, key.section)]
    return join(["# params.yaml", INTRODUCTION, *sections])


def _section(path: tuple[str, ...], key: Key, section: type[Section]) -> Iterator[str]:
    within = (*path, key.between) if key.between else path
    rows = [_row(inner, (*within, inner.name)) for inner in keys_of(section, code) if not inner.is_shared]
    yield f"{'##' if len(path) == 1 else '###'} {'.'.join(path)}"
    yield purpose(section)
    yield STRATEGIES if path == ("strategies",) else ""
    yield table(("key", "values", "default", "meaning"), rows)
    yield block("yaml", example(section))


def _row(key: Key, path: tuple[str, ...]) -> tuple[str, str, str, str]:
    if key.section:
        return code(key.name), link(".".join(path)), key.default, key.meaning
    return code(key.name), key.values, key.default, key.meaning
