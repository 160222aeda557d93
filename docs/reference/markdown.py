"""Pieces of Markdown that the pages are put together from."""

import re
from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with its headings."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def code(text: str) -> str:
    """Return a text that stands as it is written."""
    return f"`{text}`"


def link(heading: str) -> str:
    """Return a link to a heading of the same page."""
    return f"[{heading}](#{re.sub(r'[^a-z0-9_ -]', '', heading.lower()).replace(' ', '-')})"


def block(language: str, lines: str) -> str:
    """Return a block of code."""
    return f"```{language}\n{lines.rstrip()}\n```"


def join(paragraphs: Iterable[str]) -> str:
    """Return a page of paragraphs, without the empty ones."""
    return "\n\n".join(filter(None, paragraphs)) + "\n"
