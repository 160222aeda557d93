"""Figures as files: SVG for what is drawn, PNG for photographs, and sheets of several."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from tasks.files import write_bytes

PIXELS_AN_INCH = 100  # so that words in pictures are about as large as those around them
SHEET_WIDTH = 1000  # pixels
# Letters are drawn as outlines, so that they look and measure the same in every browser, and nothing of the day or of
# chance is in a file: the same figure is the same file.
AS_OUTLINES: dict[Any, Any] = {"svg.fonttype": "path", "svg.hashsalt": "thawline"}
NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


@dataclass(frozen=True)
class Picture:
    """A figure as a browser shows it.

    Attributes:
        content: the file.
        suffix: ``.svg`` or ``.png``.
        width, height: in pixels of a page, where there is room.
    """

    content: bytes
    suffix: str
    width: int
    height: int

    @property
    def address(self) -> str:
        """The picture as an address that holds all of it."""
        kind = {".svg": "svg+xml", ".png": "png"}[self.suffix]
        return f"data:image/{kind};base64,{base64.b64encode(self.content).decode()}"


def as_svg(figure: Figure) -> Picture:
    """Return a figure as SVG."""
    content = io.BytesIO()
    with mpl.rc_context(AS_OUTLINES):
        figure.savefig(content, format="svg", metadata=NO_METADATA)
    return Picture(content.getvalue(), ".svg", *_size(figure))


def as_png(figure: Figure) -> Picture:
    """Return a figure as PNG."""
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return Picture(content.getvalue(), ".png", *_size(figure))


def save(pictures: Sequence[Picture], folder: Path, name: str) -> Path:
    """Write a picture, or several side by side as one, into a folder; return the file."""
    content, suffix = (pictures[0].content, pictures[0].suffix) if len(pictures) == 1 else (_sheet(pictures), ".svg")
    target = folder / f"{name}{suffix}"
    write_bytes(target, content)
    return target


def _size(figure: Figure) -> tuple[int, int]:
    width, height = figure.get_size_inches()
    return round(PIXELS_AN_INCH * width), round(PIXELS_AN_INCH * height)


def _sheet(pictures: Sequence[Picture]) -> bytes:
    """Return an SVG in which pictures stand in rows, each as many of one height as fit."""
    placed, left, top, bottom, right = [], 0, 0, 0, 0
    for picture in pictures:
        if left and (left + picture.width > SHEET_WIDTH or picture.height != bottom - top):
            left, top = 0, bottom
        placed.append(
            f'<image x="{left}" y="{top}" width="{picture.width}" height="{picture.height}" href="{picture.address}"/>'
        )
        left += picture.width
        right, bottom = max(right, left), top + picture.height
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{right}" height="{bottom}" viewBox="0 0 {right} {bottom}">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *placed, "</svg>", ""]).encode()
