"""Folders of tiny files to list."""

import io
import os
from pathlib import Path

from PIL import Image

from tasks.data.sources import SourceListing, find
from tasks.params import DataParams


def tiny() -> bytes:
    """Return a PNG of 2 x 2 pixels."""
    content = io.BytesIO()
    Image.new("L", (2, 2)).save(content, "PNG")
    return content.getvalue()


IMAGE = tiny()


def grow(root: Path, *files: str) -> Path:
    """Make files below a folder, of which those named like images are images; a name that ends in / is a folder."""
    for name in files:
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            target.mkdir()
        else:
            target.write_bytes(IMAGE if name.endswith((".png", ".jpg")) else b"text")
    return root


def listing_of(root: Path) -> SourceListing:
    """List a folder."""
    return find(DataParams(source="folder", path=str(root)), root.parent / "work")


def below(*outer: str, inner: tuple[str, ...] = ("cat", "dog")) -> list[str]:
    """Return the name of an image for each inner folder in each outer one."""
    return [f"{above}/{folder}/1.png" for above in outer for folder in inner]


def everything(root: Path) -> set[str]:
    """Return the paths of all files below a folder, links to folders among them."""
    return {
        os.path.relpath(Path(parent, name), root)
        for parent, folders, names in os.walk(root)
        for name in (*names, *(folder for folder in folders if Path(parent, folder).is_symlink()))
    }
