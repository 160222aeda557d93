"""At which size images are worked on best: ``python -m tests.benchmarks.working_size FOLDER...``.

A linear probe of frozen features, cross-validated with groups whole, on a random part of each set at every size: what
the last stage tells, and all stages together. ``tasks.data.working_size`` rests on it.
"""

import json
import tempfile
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from tasks.data.sources.dispatch import find
from tasks.data.working_size import LARGE, SMALL, suited_to
from tasks.evaluation.transferability import linear_probe
from tasks.params import BackboneParams, DataParams, StrategyParams
from tasks.runs.networks import network
from tasks.runs.prepared import PreparedData
from tasks.training.choosing import hardware_for
from tasks.training.stage_features import stage_features
from tests.support.project import PREPARE, make_project

SIZES = [128, 160, 192, SMALL, 256, LARGE]

app = typer.Typer(help=__doc__, add_completion=False)


@app.command()
def measure(
    sets: Annotated[list[Path], typer.Argument(help="Folders with a folder a class.")],
    sizes: Annotated[list[int] | None, typer.Option(help="Working sizes in pixels.")] = None,
    seeds: Annotated[list[int] | None, typer.Option(help="Of the part that is drawn.")] = None,
    images: Annotated[int, typer.Option(help="Images of each set at most.")] = 400,
    shrunk_to: Annotated[int, typer.Option(help="Pixels that the shorter side is shrunk to before; 0: as it is.")] = 0,
    name: Annotated[str, typer.Option(help="Of the network.")] = "mobilenet_v2",
) -> None:
    """Print, a line each, the balanced accuracy of the probe on every set at every size."""
    for folder in sets:
        for seed in seeds or [0]:
            with tempfile.TemporaryDirectory() as made:
                table, side = _part(folder, Path(made), seed, images, shrunk_to)
                for size in sizes or SIZES:
                    last, every = _probed(table, Path(made) / f"at_{size}", size, name)
                    chosen = size == suited_to(side)
                    row = {"set": folder.name, "seed": seed, "side": side, "size": size, "auto": chosen}
                    typer.echo(json.dumps(row | {"last_stage": round(last, 4), "all_stages": round(every, 4)}))


def _part(folder: Path, into: Path, seed: int, images: int, shrunk_to: int) -> tuple[Path, float]:
    """Write a table of a random part of a set; return it, and the median of the shorter sides in pixels."""
    listing = find(DataParams(source="folder", path=str(folder.absolute())), into)
    chosen = np.random.default_rng(seed).permutation(len(listing.files))[:images]
    lines, sides = ["path,label,group"], []
    for place in sorted(chosen):
        file = listing.files[place]
        with Image.open(listing.root / file.path) as image:
            side = min(image.size)
            shrunk = image.copy()
            if shrunk_to and side > shrunk_to:
                shrunk = image.resize([round(length * shrunk_to / side) for length in image.size])  # type: ignore[arg-type]
            sides.append(min(shrunk.size))
            shrunk.save(into / f"{place}.png", exif=image.getexif())
        lines.append(f"{place}.png,{file.label},{file.group}")
    table = into / "table.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    return table, median(sides)


def _probed(table: Path, root: Path, size: int, name: str) -> tuple[float, float]:
    project = make_project(root, table)
    params = project.params()
    params["data"] |= {"source": "manifest", "path": str(table), "size": size}
    params["backbone"] = {"name": name, "weights": BackboneParams(name=name).weights}
    project.write_params(params)
    project.steps(*PREPARE)
    with project.entered():
        data = PreparedData.read()
        settings = StrategyParams.model_validate({"train": "head"})
        adapted = network(settings, data).adapted
        stages = stage_features(adapted, data.chosen(data.table), hardware_for(adapted, settings, size, data.channels))
        targets, groups = data.chosen(data.table).targets.numpy(), data.table["group"].tolist()
        probes = [linear_probe(of, targets, groups, 0) for of in (stages[-1].numpy(), np.concatenate(stages, axis=1))]
    last, every = (fmean(probe.balanced_accuracy) for probe in probes)
    return last, every


if __name__ == "__main__":
    app()
