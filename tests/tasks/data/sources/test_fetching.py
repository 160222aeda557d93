"""What is fetched first: data sets of torchvision, and files and folders at an address."""

import functools
import gzip
import http.server
import struct
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.data.sources import find, urls
from tasks.data.sources.fetching import fetch, state
from tasks.errors import UnavailableError, UserError
from tasks.params import DataParams


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the root of a repository for the test."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/fetched").mkdir(parents=True)
    return tmp_path


def params_of(name: str, **content: Any) -> DataParams:
    """Return params that read what is fetched under a name."""
    return DataParams(path=f"data/fetched/{name}", **content)


def fetched(params: DataParams) -> Path:
    """Fetch, and return where."""
    fetch(params, params.root, Path("data/work/downloads"))
    return params.root


def write_idx(target: Path, values: np.ndarray[Any, Any]) -> None:
    """Write an array in the format of the MNIST files."""
    target.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    target.write_bytes(gzip.compress(header + values.tobytes()))
    target.with_suffix("").write_bytes(header + values.tobytes())


def test_a_data_set_of_torchvision(at_home: Path) -> None:
    """Its train and test parts become folders, its classes folders in them, its images PNG files, pixel by pixel."""
    values = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    raw = at_home / "data/work/downloads/FashionMNIST/raw"
    for part, labels in (("train", [0, 9, 0]), ("t10k", [9, 1, 1])):
        write_idx(raw / f"{part}-images-idx3-ubyte.gz", values)
        write_idx(raw / f"{part}-labels-idx1-ubyte.gz", np.array(labels, dtype=np.uint8))
    params = params_of("FashionMNIST", source="torchvision", dataset="FashionMNIST")
    root = fetched(params)
    assert [(file.path, file.label, file.split) for file in find(params, at_home).files] == [
        ("test/Ankle boot/000000.png", "Ankle boot", "test"),
        ("test/Trouser/000001.png", "Trouser", "test"),
        ("test/Trouser/000002.png", "Trouser", "test"),
        ("train/Ankle boot/000001.png", "Ankle boot", "train"),
        ("train/T-shirt-top/000000.png", "T-shirt-top", "train"),
        ("train/T-shirt-top/000002.png", "T-shirt-top", "train"),
    ]
    assert (np.asarray(Image.open(root / "train/Ankle boot/000001.png")) == values[1]).all()


@pytest.mark.parametrize(
    ("name", "expected"), [("CIFAR1O", "did you mean 'CIFAR10'"), ("CocoDetection", "no data set of labelled images")]
)
def test_unknown_data_sets(name: str, expected: str) -> None:
    """The nearest name is given; data sets of other kinds are not taken."""
    with pytest.raises(UserError, match=expected):
        fetched(params_of(name, source="torchvision", dataset=name))


def test_every_listed_data_set_is_torchvisions() -> None:
    """Each name is a class of torchvision.datasets whose constructor takes what it is told."""
    import inspect

    from torchvision import datasets

    from tasks.data.sources.torchvision_sets import SETS

    for name, folders in SETS.items():
        taken = inspect.signature(getattr(datasets, name)).parameters
        for options in folders.values():
            assert "kwargs" in taken or {"download", *options} <= set(taken), name


def test_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another try may succeed, which the kind of error says; the sentence names the data set."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies that it was first used with
    with pytest.raises(UnavailableError, match=r"could not fetch CIFAR10 .*check the network"):
        fetched(params_of("CIFAR10", source="torchvision", dataset="CIFAR10"))


def photos(above: Path) -> Path:
    """Make a small folder a class."""
    for name in ("cat/1.png", "cat/ö 2.png", "dog/deep/3.png"):
        (above / name).parent.mkdir(parents=True, exist_ok=True)
        (above / name).write_text(name)
    return above


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on the loopback interface, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder
    server.shutdown()
    server.server_close()


def test_a_folder_at_an_address(tmp_path: Path) -> None:
    """Every file arrives where it was; its label is that of its folder."""
    params = params_of("photos", source="folder", url=photos(tmp_path / "there/photos").as_uri())
    root = fetched(params)
    files = find(params, tmp_path).files
    assert [(file.path, file.label) for file in files] == [
        ("cat/1.png", "cat"),
        ("cat/ö 2.png", "cat"),
        ("dog/deep/3.png", "dog"),
    ]
    assert all((root / file.path).read_text() == file.path for file in files)


@pytest.mark.parametrize("on_the_web", [True, False])
def test_the_bytes_that_are_fetched_are_counted(
    web: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_the_web: bool
) -> None:
    """Each byte once, against the sum of what there is, whether the file system tells of them or not."""
    address, served = web
    folder = photos(served / "photos")
    size = sum(file.stat().st_size for file in folder.rglob("*.png"))
    counted: list[int] = []

    @contextmanager
    def counting(_: str, total: int | None, **__: Any) -> Iterator[Any]:
        assert total in {size, None}
        yield counted.append

    monkeypatch.setattr(urls, "counting", counting)
    urls.fetch(f"{address}/photos/" if on_the_web else folder.as_uri(), tmp_path / "fetched")
    assert sum(counted) == size


def test_an_archive_and_a_folder_on_the_web(web: tuple[str, Path], tmp_path: Path) -> None:
    """A file is fetched by its name; what follows a question mark is none of it; a folder ends in a slash."""
    import shutil

    address, folder = web
    shutil.make_archive(str(folder / "photos"), "zip", photos(tmp_path / "made"))
    params = params_of("photos.zip", source="archive", url=f"{address}/photos.zip?download=1")
    fetched(params)
    assert [file.label for file in find(params, tmp_path / "work").files] == ["cat", "cat", "dog"]
    photos(folder / "set")
    assert (fetched(params_of("set", source="folder", url=f"{address}/set/")) / "dog/deep/3.png").is_file()


def test_what_is_there_is_compared(web: tuple[str, Path], tmp_path: Path) -> None:
    """What stands for the state of an address changes when a file does, and not otherwise."""
    here = params_of("photos", source="folder", url=photos(tmp_path / "photos").as_uri())
    first = state(here)
    assert state(here) == first
    (tmp_path / "photos/cat/1.png").write_text("another content")
    assert state(here) != first


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:///nowhere/photos", "there is nothing at file:///nowhere/photos: correct data.url"),
        ("s4://bucket/photos", r"is not understood \(did you mean 's3'\?\)"),
    ],
)
def test_addresses_that_are_wrong(url: str, expected: str) -> None:
    """One sentence that names the address."""
    with pytest.raises(UserError, match=expected):
        fetched(params_of("photos", source="folder", url=url))


def test_a_page_that_is_not_there(web: tuple[str, Path]) -> None:
    """A web server's 404 is a wrong address, not a broken connection."""
    with pytest.raises(UserError, match="there is nothing at") as caught:
        fetched(params_of("photos.zip", source="archive", url=f"{web[0]}/photos.zip"))
    assert not isinstance(caught.value, UnavailableError)


def test_a_server_that_is_not_there() -> None:
    """Another try may succeed; a password in the address is not shown."""
    with pytest.raises(UnavailableError, match="could not be fetched") as caught:
        fetched(params_of("photos.zip", source="archive", url="http://me:secret@127.0.0.1:9/photos.zip"))
    assert "secret" not in str(caught.value)


PLACES: list[tuple[dict[str, Any], str]] = [
    ({"source": "elpv", "path": "photos"}, "write 'path: data/fetched/elpv'"),
    ({"source": "torchvision", "path": "data/fetched/CIFAR10"}, "'dataset: CIFAR10'"),
    ({"source": "torchvision", "path": "x", "dataset": "CIFAR10"}, "write 'path: data/fetched/CIFAR10'"),
    ({"source": "folder", "path": "x", "dataset": "CIFAR10"}, "'source: torchvision' go together"),
    ({"source": "folder", "path": "photos", "url": "s3://b/photos/"}, "write 'path: data/fetched/photos'"),
    ({"source": "archive", "path": "x", "url": "https://a.b/c/p.zip?x=/1"}, "write 'path: data/fetched/p.zip'"),
    ({"source": "folder", "path": "x", "url": "photos"}, "an address such as s3://bucket/photos, not 'photos'"),
    ({"source": "folder", "path": "x", "url": "s3://b/.."}, "an address such as"),
    ({"source": "folder", "path": "x", "url": "s3://b/x", "rev": "v1"}, "keep one"),
    ({"source": "elpv", "path": "data/fetched/elpv", "rev": "v1"}, "'rev' goes with folder, manifest and archive"),
    ({"source": "folder", "path": "/photos", "rev": "v1"}, "one that this repository tracks"),
    ({"source": "manifest", "path": "labels.csv", "rev": "v1"}, "in a folder, not 'labels.csv'"),
    ({"source": "folder", "path": "data/fetched/photos"}, "say with 'url' where to fetch from"),
]


@pytest.mark.parametrize(("content", "expected"), PLACES)
def test_places_that_do_not_fit(content: dict[str, Any], expected: str) -> None:
    """Where images come from and where they are read belong together; the sentence has the value to write."""
    with pytest.raises(ValueError, match="Value error") as caught:
        DataParams.model_validate(content)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("content", "root", "tracked"),
    [
        ({"source": "folder", "path": "photos"}, "photos", ""),
        ({"source": "folder", "path": "my/photos", "rev": "v1"}, "data/fetched/photos", "my/photos"),
        ({"source": "archive", "path": "p.zip", "rev": "v1"}, "data/fetched/p.zip", "p.zip"),
        ({"source": "manifest", "path": "my/set", "rev": "v1"}, "data/fetched/set", "my/set"),
        ({"source": "manifest", "path": "my/set/a.csv", "rev": "v1"}, "data/fetched/set/a.csv", "my/set"),
        ({"source": "manifest", "path": "data/fetched/s/a.csv", "url": "s3://b/s"}, "data/fetched/s/a.csv", ""),
    ],
)
def test_where_images_are_read(content: dict[str, Any], root: str, tracked: str) -> None:
    """Of a revision, the fetched copy is read; of a table, its whole folder is fetched."""
    params = DataParams.model_validate(content)
    assert (params.root.as_posix(), params.tracked) == (root, tracked)
