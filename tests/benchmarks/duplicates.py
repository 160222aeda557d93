"""Time and memory of finding images that show the same: ``python -m tests.benchmarks.duplicates``.

Thumbnails of random fields that look like clouds and textures, a tenth of them near-duplicates of others; each number
of images in a process of its own, whose peak memory includes the thumbnails and Python.

``--scenes`` joins the shots of a fixed camera instead, 40 good ones and 40 with a scratch: they show one scene, and
none of them the same. ``mixed`` counts the groups that hold both.
"""

import json
import math
import resource
import subprocess
import sys
import time
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image, ImageDraw, ImageFilter
from rich.console import Console
from rich.table import Table

from tasks.arrays import Thumbnails
from tasks.data.fingerprints import SIDE, thumbnail
from tasks.data.groups import components
from tasks.data.near_duplicates import find_near_duplicates
from tasks.data.scenes import NO_SCENE
from tasks.params import SplitParams

COUNTS = [12_500, 25_000, 50_000, 100_000]
CORRELATION_LENGTHS = (1.0, 2.0, 4.0, 8.0)  # in pixels of a thumbnail
PLANTED = 0.1
AT_ONCE = 4096  # fields that are drawn at once
CAMERA = 256  # pixels of a fixed camera's shots
JITTERS, DEFECTS = (0, 2, 4, 8, 12, 16, 20), (12, 24, 36, 48, 60)


def random_fields(count: int, rng: np.random.Generator) -> Thumbnails:
    """Return thumbnails of smooth random fields, of each correlation length about as many."""
    waves = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    filters = np.stack([np.exp(-((math.pi * length * waves) ** 2)) for length in CORRELATION_LENGTHS])
    fields = np.empty((count, SIDE, SIDE), dtype=np.uint8)
    for start in range(0, count, AT_ONCE):
        noise = rng.standard_normal((min(AT_ONCE, count - start), SIDE, SIDE), dtype=np.float32)
        chosen = filters[rng.integers(len(filters), size=len(noise))]
        smooth = np.fft.irfft2(np.fft.rfft2(noise) * chosen, s=(SIDE, SIDE))
        smooth -= smooth.mean(axis=(1, 2), keepdims=True)
        smooth /= smooth.std(axis=(1, 2), keepdims=True)
        fields[start : start + len(noise)] = np.clip(120 + 40 * smooth, 0, 255)
    return fields


def planted(count: int, rng: np.random.Generator) -> tuple[Thumbnails, npt.NDArray[np.int64]]:
    """Return shuffled thumbnails, and the pairs of places of which one is a darker, noisy copy of the other."""
    copies = int(count * PLANTED)
    fields = random_fields(count - copies, rng)
    sources = rng.choice(len(fields), copies, replace=False)
    exposed = fields[sources] * rng.uniform(0.3, 1.0, (copies, 1, 1)) + rng.normal(0, 2, (copies, SIDE, SIDE))
    thumbnails = np.concatenate([fields, np.clip(np.rint(exposed), 0, 255).astype(np.uint8)])
    order = rng.permutation(count)
    place = np.argsort(order)
    pairs = np.sort(np.stack([place[sources], place[len(fields) :]], axis=1), axis=1)
    return thumbnails[order], pairs


def scene(rng: np.random.Generator, side: int) -> npt.NDArray[np.float32]:
    """Return what a fixed camera looks at: a smooth field, parts that stand out of it, and some texture."""
    large = Image.fromarray(random_fields(1, rng)[0]).resize((side, side), Image.Resampling.BICUBIC)
    drawing = ImageDraw.Draw(large)
    for _ in range(12):
        left, top = rng.integers(0, side, 2).tolist()
        width, height = rng.integers(10, side // 4, 2).tolist()
        drawing.rectangle((left, top, left + width, top + height), fill=int(rng.integers(30, 220)))
    return np.asarray(large.filter(ImageFilter.GaussianBlur(1.5)), dtype=np.float32)


def fixed_camera(
    count: int, jitter: int, defect: int, rng: np.random.Generator
) -> tuple[list[Image.Image], npt.NDArray[np.int64]]:
    """Return ``count`` shots of one scene of each class, and the classes: 1 has a scratch somewhere, 0 has none.

    Args:
        count: of shots a class.
        jitter: pixels by which a shot is off at most, in each direction.
        defect: length of a scratch in pixels; it is 5 wide.
        rng: draws scene, shots and noise; the gain lies between 0.85 and 1.1, the noise has a deviation of 6.
    """
    background, shots = scene(rng, CAMERA + 2 * jitter), []
    labels = np.repeat([0, 1], count)
    down, across = np.mgrid[:CAMERA, :CAMERA].astype(np.float32)
    for label in labels:
        left, top = rng.integers(0, 2 * jitter + 1, 2)
        shot = background[top : top + CAMERA, left : left + CAMERA].copy()
        if label:
            angle, (x, y) = rng.uniform(0, math.pi), rng.uniform(40, CAMERA - 40, 2)
            along = (across - x) * math.cos(angle) + (down - y) * math.sin(angle)
            aside = (down - y) * math.cos(angle) - (across - x) * math.sin(angle)
            shot[(abs(along) < defect / 2) & (abs(aside) < 2.5)] += rng.choice([-60, 60])
        shot = shot * rng.uniform(0.85, 1.1) + rng.normal(0, 6, shot.shape)
        shots.append(Image.fromarray(np.clip(np.rint(shot), 0, 255).astype(np.uint8)))
    return shots, labels


def swept(jitter: int, defect: int, count: int = 40) -> dict[str, float]:
    """Return what is joined of a fixed camera's shots."""
    images, labels = fixed_camera(count, jitter, defect, np.random.default_rng(1000 * jitter + defect))
    resized = [np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR))[..., None] for image in images]
    likeness = find_near_duplicates(
        np.stack([thumbnail(image) for image in resized]), SplitParams().near_duplicates, labels
    )
    groups = components(len(images), likeness.pairs)
    sizes = np.bincount(groups)
    return {
        "jitter": jitter,
        "defect": defect,
        "images": len(images),
        "in_scenes": int((likeness.scenes != NO_SCENE).sum()),
        "joined": int(sizes[sizes > 1].sum()),
        "largest": int(sizes.max()),
        "mixed": sum(len(set(labels[groups == group].tolist())) > 1 for group in range(len(sizes))),
    }


def measure(count: int) -> dict[str, float]:
    """Return the figures of one number of images."""
    thumbnails, wanted = planted(count, np.random.default_rng(count))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    likeness = find_near_duplicates(thumbnails, SplitParams().near_duplicates)
    groups = components(count, likeness.pairs)
    seconds = time.monotonic() - started
    keys = likeness.pairs[:, 0] * count + likeness.pairs[:, 1]
    return {
        "images": count,
        "seconds": round(seconds, 2),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "peak_before_mib": round(before / 1024),
        "pairs": len(likeness.pairs),
        "groups": int((np.bincount(groups) > 1).sum()),
        "planted_found": round(float(np.isin(wanted[:, 0] * count + wanted[:, 1], keys).mean()), 5),
    }


def main(
    counts: Annotated[list[int] | None, typer.Argument(help="Numbers of images, ascending.")] = None,
    alone: Annotated[bool, typer.Option(help="Measure in this process, and print nothing but JSON.")] = False,
    scenes: Annotated[bool, typer.Option(help="Join the shots of a fixed camera.")] = False,
) -> None:
    """Print a table and a line of JSON."""
    if scenes:
        figures = [swept(jitter, defect) for jitter in JITTERS for defect in DEFECTS]
        table = Table(*figures[0])
        for row in figures:
            table.add_row(*map(str, row.values()))
        Console().print(table)
        typer.echo(json.dumps(figures))
        return
    if alone:
        typer.echo(json.dumps(measure((counts or COUNTS)[0])))
        return
    rows = []
    for count in counts or COUNTS:
        command = [sys.executable, "-m", "tests.benchmarks.duplicates", str(count), "--alone"]
        measured = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        last = rows[-1] if rows else None
        growth = math.log(measured["seconds"] / last["seconds"], count / last["images"]) if last else None
        rows.append(measured | {"exponent": None if growth is None else round(growth, 2)})
    table = Table("images", "seconds", "exponent", "peak MiB", "before MiB", "pairs", "groups", "planted found")
    for row in rows:
        table.add_row(
            f"{row['images']:,}",
            f"{row['seconds']:.1f}",
            "" if row["exponent"] is None else f"{row['exponent']:.2f}",
            f"{row['peak_mib']:,}",
            f"{row['peak_before_mib']:,}",
            f"{row['pairs']:,}",
            f"{row['groups']:,}",
            f"{row['planted_found']:.2%}",
        )
    Console().print(table)
    typer.echo(json.dumps(rows))


if __name__ == "__main__":
    typer.run(main)
