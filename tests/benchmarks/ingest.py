"""What checking, reuse and a store cost beside a bare loop over the files: ``python -m tests.benchmarks.ingest``.

Synthetic photographs as JPEG files, in chunks: the bare loop over a chunk, the ingest of the same chunk, and the other
way round for the next one. Then one ingest of everything in a process of its own, for its memory.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from tasks.data.ingest import ingest
from tasks.data.store import ROWS_A_BLOCK
from tasks.params import DataParams

SIDE, SIZE, CHANNELS = 256, 224, 3
DISTINCT = 300
A_FILE = 20_000  # bytes, on the disk
THREADS = os.cpu_count() or 1
IN_ITS_OWN_PROCESS = """
import json, re, sys, time
from pathlib import Path
from tasks.data.ingest import ingest
from tests.benchmarks.ingest import params

def peak():  # ru_maxrss would include what the parent held when it started this process
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

images, work = map(Path, sys.argv[1:])
names = sorted(path.name for path in images.iterdir())
before, started = peak(), time.monotonic()
found = ingest(images, names, params(), work / "none.npy", work)
print(json.dumps({
    "seconds": time.monotonic() - started, "before": before, "peak": peak(),
    "problems": sum(bool(image.problem) for image in found.images),
}))
"""


def params() -> DataParams:
    """Return the working size."""
    return DataParams(source="folder", path="images", size=SIZE)


def main(
    images: Annotated[int, typer.Option(min=20, help="Number of files; 50,000 take 7.5 GB of store.")] = 50_000,
    chunks: Annotated[int, typer.Option(min=1, help="In which the two take turns.")] = 10,
    folder: Annotated[
        Path | None, typer.Option(help="Where to make everything; the system's place if not given.")
    ] = None,
) -> None:
    """Measure a bare loop and an ingest over the same files; print a table and a line of JSON.

    The default of 50,000 images needs 7.5 GB of disk for the store and 1 GB for the files; all is removed at the end.
    """
    with tempfile.TemporaryDirectory(prefix="ingest-", dir=folder) as temporary:
        place = Path(temporary)
        needed = images * (SIZE * SIZE * CHANNELS + A_FILE) * 11 // 10
        free = shutil.disk_usage(place).free
        if free < needed:
            raise SystemExit(f"{images} images need {needed / 1e9:.1f} GB in {place.parent}, {free / 1e9:.1f} are free")
        paths = _photographs(place / "images", images)
        bare, ingested = _take_turns(place, paths, chunks)
        measured = _alone(place)
    figures = {
        "images": images,
        "threads": THREADS,
        "bare_seconds": round(bare, 2),
        "bare_images_per_second": round(images / bare),
        "ingest_seconds": round(ingested, 2),
        "ingest_images_per_second": round(images / ingested),
        "bare_over_ingest": round(bare / ingested, 3),
        "whole_ingest_seconds": round(measured["seconds"], 2),
        "memory_before_mib": round(measured["before"]),
        "peak_memory_mib": round(measured["peak"]),
    }
    table = Table(title=f"{images:,} JPEG files of {SIDE}x{SIDE} to {SIZE}x{SIZE}, {THREADS} threads")
    for name in ("", "seconds", "images/s", "peak memory"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("bare loop", f"{bare:.2f}", f"{images / bare:,.0f}", "")
    table.add_row("ingest", f"{ingested:.2f}", f"{images / ingested:,.0f}", "")
    table.add_row("bare / ingest", f"{bare / ingested:.3f}", "", "")
    table.add_row(
        "ingest of all at once",
        f"{measured['seconds']:.2f}",
        f"{images / measured['seconds']:,.0f}",
        f"{measured['peak']:,.0f} MiB ({measured['before']:,.0f} before)",
    )
    Console().print(table)
    typer.echo(json.dumps(figures))


def _photographs(folder: Path, count: int) -> list[Path]:
    """Write JPEG files, no two of which are byte-identical."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    contents = [_photograph(rng) for _ in range(min(count, DISTINCT))]
    paths = [folder / f"{at:07}.jpg" for at in range(count)]
    for at, path in enumerate(paths):
        content = contents[at % len(contents)]
        comment = f"{at:07}".encode()
        path.write_bytes(content[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + content[2:])
    return paths


def _photograph(rng: np.random.Generator) -> bytes:
    """Return a JPEG file of smooth fields of several scales, with the noise of a camera."""
    picture = np.zeros((SIDE, SIDE, 3), dtype=np.float32)
    for cells in (3, 7, 17, 47, 101):
        for channel in range(3):
            field = Image.fromarray(rng.normal(0, 120 / cells**0.6, (cells, cells)).astype(np.float32))
            picture[..., channel] += np.asarray(field.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    grey = picture.mean(axis=2, keepdims=True)  # colours of a photograph go together
    noisy = 120 + 0.7 * grey + 0.3 * picture + rng.normal(0, 3, picture.shape)
    stream = BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _take_turns(place: Path, paths: Sequence[Path], chunks: int) -> tuple[float, float]:
    """Return the seconds of the bare loop and of the ingest, summed over the chunks."""
    order: list[Callable[[Path, Sequence[Path]], None]] = [_bare, _ingest]
    seconds = dict.fromkeys(order, 0.0)
    bounds = np.linspace(0, len(paths), chunks + 1).astype(int)
    for turn, (start, stop) in enumerate(pairwise(bounds)):
        chunk = paths[start:stop]
        for run in order if turn % 2 == 0 else order[::-1]:
            for path in chunk:  # into the page cache, the same for both
                path.read_bytes()
            started = time.monotonic()
            run(place / "work", chunk)
            seconds[run] += time.monotonic() - started
            shutil.rmtree(place / "work", ignore_errors=True)
    return seconds[_bare], seconds[_ingest]


def _bare(_: Path, paths: Sequence[Path]) -> None:
    def block(start: int) -> int:
        return sum(_decoded(path).nbytes for path in paths[start : start + ROWS_A_BLOCK])

    with ThreadPoolExecutor(THREADS) as pool:
        total = sum(pool.map(block, range(0, len(paths), ROWS_A_BLOCK)))
    if total != len(paths) * SIZE * SIZE * CHANNELS:
        raise SystemExit("the bare loop did not decode everything")


def _decoded(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def _ingest(work: Path, paths: Sequence[Path]) -> None:
    ingested = ingest(paths[0].parent, [path.name for path in paths], params(), work / "none.npy", work)
    if ingested.reused or any(image.problem for image in ingested.images):
        raise SystemExit("the ingest did not decode everything")


def _alone(place: Path) -> dict[str, float]:
    """Return seconds and memory of one ingest of all files, in a process of its own."""
    command = [sys.executable, "-c", IN_ITS_OWN_PROCESS, str(place / "images"), str(place / "work")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    if figures["problems"]:
        raise SystemExit("the ingest did not decode everything")
    return figures


if __name__ == "__main__":
    typer.run(main)
