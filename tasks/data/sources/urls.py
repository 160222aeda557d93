"""A file or a folder at an address, fetched by fsspec."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsspec.callbacks import Callback
from fsspec.core import url_to_fs

from tasks.data.sources.file_names import path_problem
from tasks.errors import LONGEST, UnavailableError, UserError, nearest, one_line
from tasks.files import digest_of, is_full_disk
from tasks.progress import counting

PROTOCOLS = ("file", "ftp", "gs", "http", "https", "s3", "sftp", "ssh")
PACKAGES = {"s3": "'.[s3]'", "gs": "gcsfs", "ssh": "paramiko", "sftp": "paramiko"}
VERSION_KEYS = ("size", "ETag", "etag", "md5Hash", "Content-MD5", "LastModified", "updated", "mtime")


class _Fetched(Callback):  # type: ignore[misc]
    """Counts the bytes of files that fsspec fetches, each of which has a callback of its own."""

    def __init__(self, advance: Callable[[int], None], place: Path | None = None) -> None:
        """Take who is told of bytes, and where the file will lie; None: of all files together."""
        super().__init__()
        self._advance, self._place = advance, place

    def branched(self, path_1: str, path_2: str, **_: Any) -> "_Fetched":
        """Return the callback of one file, which is fetched from a path to another."""
        return _Fetched(self._advance, Path(path_2))

    def relative_update(self, inc: int = 1) -> None:
        """Note that so many bytes more of a file are there."""
        if self._place:
            self.value += inc
            self._advance(inc)

    def close(self) -> None:
        """Note the bytes of a whole file that a file system did not tell of."""
        if self._place and self._place.is_file():
            self._advance(max(0, self._place.stat().st_size - self.value))


def fetch(url: str, target: Path) -> None:
    """Copy the file, or all files of the folder, at an address to ``target``.

    Raises:
        UserError: the address is not understood, there is nothing, or a name leaves the folder.
        UnavailableError: what is there could not be fetched.
    """
    with _explaining_errors(url):
        source, files = _list_files(url)
        places = {path: target / name if name else target for path, (name, _) in files.items()}
        for folder in {place.parent for place in places.values()}:
            folder.mkdir(parents=True, exist_ok=True)
        sizes = [facts.get("size") for _, facts in files.values()]
        total = None if None in sizes else sum(size for size in sizes if size)
        with counting(f"fetching {without_credentials(url)}", total, of_bytes=True) as advance:
            source.get(list(places), [str(place) for place in places.values()], callback=_Fetched(advance))


def state(url: str) -> str:
    """Return a digest of what the server says of every file at an address: it changes when a file does.

    Raises:
        UserError: the address is not understood, there is nothing, or a name leaves the folder.
        UnavailableError: the server could not be asked.
    """
    with _explaining_errors(url):
        _, files = _list_files(url)
        return digest_of([(name, {key: facts.get(key) for key in VERSION_KEYS}) for name, facts in files.values()])


def without_credentials(url: str) -> str:
    """Return an address without a user's name and password."""
    return re.sub(r"//[^@/]*@", "//", url)


def _list_files(url: str) -> tuple[Any, dict[str, tuple[str, dict[str, Any]]]]:
    """Return the file system, and of each of its files the name relative to the address and what is known of it.

    The name of a single file is empty.
    """
    source, top = url_to_fs(url, skip_instance_cache=True)
    if not url.endswith("/"):  # every web page is a file to fsspec
        facts = source.info(top)
        if facts["type"] == "file":
            return source, {top: ("", facts)}
    above = top.rstrip("/") + "/"
    listed = source.find(top, detail=True)
    names = {path: path.removeprefix(above) for path in listed if path.startswith(above)}
    files = {path: (name, listed[path]) for path, name in names.items() if name and not name.endswith("/")}
    if url.startswith("http"):
        files = {path: file for path, file in files.items() if "?" not in file[0]}
    if not files:
        raise UserError(f"there is nothing at {without_credentials(url)}: correct data.url in params.yaml")
    for name, _ in files.values():
        if problem := path_problem(name):
            raise UserError(f"{without_credentials(url)} has the file {name!a}, which {problem}: rename it there")
    return source, files


@contextmanager
def _explaining_errors(url: str) -> Iterator[None]:
    protocol = url.partition("://")[0]
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        package = PACKAGES.get(protocol, f"what fsspec names ({error})")
        raise UserError(f"data.url: {protocol}:// needs a package that is missing: pip install {package}") from error
    except FileNotFoundError as error:
        cause = error.__cause__
        is_on_the_web = protocol in {"http", "https"} and isinstance(cause, Exception)
        if is_on_the_web and getattr(cause, "status", None) not in {404, 410}:
            raise _unavailable(url, cause or error) from error  # to fsspec, every failure is a missing file
        raise UserError(f"there is nothing at {without_credentials(url)}: correct data.url in params.yaml") from error
    except PermissionError as error:
        raise UserError(
            f"{without_credentials(url)} may not be read ({_line(error)}): check the credentials"
        ) from error
    except ValueError as error:
        known = "" if protocol in PROTOCOLS else nearest(protocol, PROTOCOLS)
        raise UserError(f"data.url: {without_credentials(url)} is not understood{known}: {_line(error)}") from error
    except Exception as error:  # each protocol has its own errors
        if isinstance(error, OSError) and is_full_disk(error):
            raise
        raise _unavailable(url, error) from error


def _unavailable(url: str, error: BaseException) -> UnavailableError:
    return UnavailableError(
        f"{without_credentials(url)} could not be fetched ({_line(error)}): check the network connection and the "
        "credentials, and run the same command again"
    )


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(without_credentials(str(error)), LONGEST)}"
