"""``python -m tasks params``: what the sections and keys of ``params.yaml`` mean."""

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tasks.errors import UserError, nearest
from tasks.params.keys import FOR_ALL, PLACEHOLDERS, Key, keys_of, paths
from tasks.params.loading import Params
from tasks.params.meanings import example, purpose

COMMAND = "python -m tasks params"


def explain(asked: str = "", console: Console | None = None) -> None:
    """Print what a section or a key means.

    Args:
        asked: ``train``, ``lr``, ``train.lr``, ``strategies.full.head.kind``, …; empty: the sections.
        console: where to.

    Raises:
        UserError: there is no such section or key.
    """
    console = console or Console(highlight=False)
    if not asked:
        _print_sections(console)
        return
    chosen, others = find(asked)
    for name, key in chosen:
        console.print(Text(name, style="bold"))
        if key.section:
            console.print(_prose(purpose(key.section)))
            _print_keys(keys_of(key.section), console)
            if lines := example(key.section):
                console.print(Text(f"\nExample:\n{lines}"))
        else:
            _print_key(key, console)
    if others:
        console.print(Text(f"\nThere is also: {', '.join(others)}."))


def find(asked: str) -> tuple[list[tuple[str, Key]], list[str]]:
    """Return the keys that a word or a path stands for, with their paths, and the paths of others that end like it.

    Raises:
        UserError: there is none.
    """
    words, known = tuple(asked.split(".")), list(paths())
    ending = [(path, key) for path, key in known if _ends_with(path, words)]
    chosen = (
        [(path, key) for path, key in ending if path == words]
        or [(path, key) for path, key in ending if not key.is_shared]
        or ending
    )
    if not chosen and len(words) > 1:  # strategies.full, phases.0
        chosen = [(path, key) for path, key in known if _ends_with((*path, key.between), words)]
    if not chosen:
        names = {name for path, _ in known for name in path} - set(PLACEHOLDERS.values())
        raise UserError(f"params.yaml has no key '{asked}'{nearest(words[-1], names)}")
    others = [path for path, key in ending if not key.is_shared and (path, key) not in chosen]
    return [(".".join(path), key) for path, key in chosen], [".".join(path) for path in others]


def _ends_with(path: tuple[str, ...], words: tuple[str, ...]) -> bool:
    """Return whether a path ends with what was asked; a placeholder stands for any word, or for none."""
    if not words or not path:
        return not words
    if path[-1] in PLACEHOLDERS.values():
        return _ends_with(path[:-1], words) or _ends_with(path[:-1], words[:-1])
    return path[-1] == words[-1] and _ends_with(path[:-1], words[:-1])


def _print_sections(console: Console) -> None:
    table = Table.grid(padding=(0, 2))
    for key in keys_of(Params):
        table.add_row(Text(key.name, style="bold"), _prose(key.meaning))
    console.print(table)
    console.print(Text(f"\n'{COMMAND} train' lists the keys of a section, '{COMMAND} lr' says what a key means."))


def _print_keys(keys: list[Key], console: Console) -> None:
    for key in keys:
        if not key.is_shared:
            console.print(Text.assemble("\n", (key.name, "bold")))
            _print_key(key, console)
    if any(key.is_shared for key in keys):
        console.print(Text(f"\nand, for this strategy alone, every key of train but {', '.join(FOR_ALL)}"))


def _print_key(key: Key, console: Console) -> None:
    facts = f"{COMMAND} {key.name}" if key.section else f"{key.values}; default: {key.default}"
    for line in (facts.replace("default: required", "required"), key.meaning):
        console.print(Padding(_prose(line), (0, 0, 0, 4), expand=False))


def _prose(markdown: str) -> Text:
    text = Text(markdown)
    text.highlight_regex(r"`[^`]+`", "cyan")
    return text
