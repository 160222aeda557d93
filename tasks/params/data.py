"""The section ``data``: where the images come from and how they are read."""

import re
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tasks import layout
from tasks.params.section import Section
from tasks.params.values import Size

TABLES = (".csv", ".tsv", ".tab", ".txt", ".parquet")
PACKAGED = ("elpv", "torchvision")  # sources that bring their images along


def expanded(path: str) -> Path:
    """Return a path of which ``~`` at the beginning is the home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # of a user who isn't there
        return Path(path)


class DataParams(Section):
    """Where the images come from and how they are read.

    Example:
        data:
          source: folder
          path: my/photos
          size: 224
    """

    source: Literal["elpv", "folder", "manifest", "archive", "torchvision"]
    """``elpv``: the packaged solar cells; ``folder``: a folder a class; ``manifest``: a table with a row an image;
    ``archive``: a .zip or .tar of either; ``torchvision``: one of its data sets."""

    path: str = Field(min_length=1)
    """The folder, table or archive that is read, without ``~``, which DVC does not expand; ``data/fetched/NAME`` where
    it is fetched first."""

    url: str = ""
    """Where a folder, table or archive is fetched from: ``s3://``, ``gs://``, ``ssh://``, ``https://``, ``file://``."""

    rev: str = ""
    """The git revision whose version of ``path`` is read; ``path`` is then one that this repository tracks."""

    dataset: str = ""
    """``torchvision`` only: a class of ``torchvision.datasets``, such as ``CIFAR10``."""

    follow_links: bool = False
    """Read what links lead to outside of ``path``, too, and enter linked folders; links into DVC's cache are always
    followed."""

    max_files: int = Field(1_000_000, gt=0)
    """An archive with more members than this is not unpacked."""

    max_unpacked_bytes: int = Field(100_000_000_000, gt=0)
    """An archive that unpacks to more bytes than this is not unpacked."""

    size: Size = "auto"
    """Working height and width in pixels: every image is resized to ``size`` x ``size``. 224 is what most networks were
    pretrained with; somewhat more often gains accuracy (Touvron et al., NeurIPS 2019), if the images have it. ``auto``:
    288, or 224 where half of the images or more are smaller than that."""

    channels: Literal["auto", 1, 2, 3, 4] = "auto"
    """1 (grey), 2 (grey, alpha), 3 (RGB), 4 (RGB, alpha), or ``auto``: 1 if every image is grey, else 3."""

    upright: Literal["auto", True, False] = "auto"
    """Whether the images have an up, which decides which flips and turns are harmless; ``auto``: not those of ``elpv``,
    but those of all other sources."""

    defective_over: float = Field(0.5, ge=0, lt=1)
    """``elpv`` only: a defect probability above this is labelled ``defective``."""

    max_unreadable: float = Field(0.05, ge=0, le=1)
    """The largest share of files that can't be used with which a run goes on."""

    max_pixels: int = Field(100_000_000, gt=0)
    """Images with more pixels than this are not decoded (decompression bombs)."""

    max_bytes: int = Field(500_000_000, gt=0)
    """Files of more bytes than this are not read."""

    background: str = "white"
    """What images with alpha are laid over, by name (``white``) or number (``#ffffff``)."""

    label_case: Literal["join", "keep"] = "join"
    """Whether classes, or subsets, whose names differ in case alone are one (``join``) or several (``keep``)."""

    range: Literal["robust", "full", "image"] | tuple[float, float] = "robust"
    """Which values of grey beyond 8 bits become black and white: ``robust`` (the least and the greatest of the whole
    set, but for a few pixels and images far outside), ``full`` (of the whole set), ``image`` (of each image by itself,
    robustly), or two numbers, such as ``[0, 4095]``."""

    @field_validator("range", mode="before")
    @classmethod
    def _is_a_range(cls, asked: Any) -> Any:
        if isinstance(asked, str) and asked in {"robust", "full", "image"}:
            return asked
        is_pair = isinstance(asked, list | tuple) and len(asked) == 2
        if not is_pair or not all(type(end) in {int, float} for end in asked) or not asked[0] < asked[1]:
            raise ValueError(f"'{asked}' is no range: write robust, full, image or two numbers such as [0, 4095]")
        return asked

    @field_validator("background")
    @classmethod
    def _is_a_colour(cls, name: str) -> str:
        from PIL import ImageColor

        try:
            ImageColor.getrgb(name)
        except ValueError as error:
            raise ValueError(
                f"'{name}' is not a colour: write a name such as white, or a number such as #ffffff"
            ) from error
        return name

    @model_validator(mode="after")
    def _says_where_images_come_from(self) -> "DataParams":
        if self.url and self.rev:
            raise ValueError("'url' and 'rev' are two places to fetch from: keep one")
        if (self.url or self.rev) and self.source in PACKAGED:
            raise ValueError(
                f"'{'url' if self.url else 'rev'}' goes with folder, manifest and archive, not {self.source}"
            )
        if bool(self.dataset) != (self.source == "torchvision"):
            raise ValueError("'dataset' and 'source: torchvision' go together: write both, such as 'dataset: CIFAR10'")
        if not re.fullmatch(r"\w*", self.dataset):
            raise ValueError(f"'dataset' is a name such as CIFAR10, not '{self.dataset}'")
        if self.url and (not re.match(r"[\w+:]+://.", self.url) or self.fetched in {"", ".", ".."}):
            raise ValueError(f"'url' is an address such as s3://bucket/photos, not '{self.url}'")
        return self

    @model_validator(mode="after")
    def _reads_what_is_fetched(self) -> "DataParams":
        if self.rev:
            self._check_tracked()
        elif self.fetched:
            self._check_fetched()
        elif expanded(self.path).resolve().is_relative_to(layout.FETCHED.resolve()):
            raise ValueError(
                f"'path' is in {layout.FETCHED}, which holds what is fetched and is emptied otherwise: say with 'url' "
                "where to fetch from, or put the images elsewhere"
            )
        return self

    def _check_tracked(self) -> None:
        path = PurePosixPath(self.path)
        if path.is_absolute() or ".." in path.parts or not self.fetched:
            raise ValueError(f"with 'rev', 'path' is one that this repository tracks, in a folder, not '{self.path}'")

    def _check_fetched(self) -> None:
        path, place = PurePosixPath(self.path), PurePosixPath(layout.FETCHED, self.fetched)
        if path != place and not (self.source == "manifest" and path.parent == place):
            mend = f"write 'path: {place}'"
            if self.source == "elpv":
                mend += f", or 'source: folder' for images of your own in {self.path}"
            raise ValueError(f"'path' must be {place}, where what is fetched lies: {mend}")

    @property
    def side(self) -> int:
        """The working size in pixels, once it is settled: ``sized`` settles one that was left to the images."""
        if self.size == "auto":
            raise ValueError("data.size is left to the images, and they were not looked at yet")
        return self.size

    def sized(self, side: int) -> "DataParams":
        """Return the same with a working size."""
        return self.model_copy(update={"size": side})

    @property
    def is_upright(self) -> bool:
        """Whether the images have an up; what a source doesn't say is taken for yes."""
        return self.source != "elpv" if self.upright == "auto" else self.upright

    @property
    def fetched(self) -> str:
        """What the fetched file or folder is called; empty where ``path`` is read as it is."""
        if self.source in PACKAGED:
            return self.dataset or self.source
        if self.url:
            address = self.url.partition("?")[0] if self.url.startswith("http") else self.url
            return address.rstrip("/").rpartition("/")[2]
        return self._tracked().name if self.rev else ""

    @property
    def tracked(self) -> str:
        """The path that is fetched of a revision: ``path``, or for a table the folder that it lies in."""
        return self._tracked().as_posix() if self.rev else ""

    @property
    def root(self) -> Path:
        """The folder, table or archive that is really read."""
        if not self.rev:
            return expanded(self.path)
        return layout.FETCHED / self.fetched / PurePosixPath(self.path).relative_to(self._tracked())

    def _tracked(self) -> PurePosixPath:
        path = PurePosixPath(self.path)
        is_table = self.source == "manifest" and path.suffix.lower() in TABLES
        return path.parent if is_table else path
