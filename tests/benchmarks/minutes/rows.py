"""The rows of the benchmark: what is measured, and the ways of doing it that take turns."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import typer

from tests.benchmarks.minutes import small
from tests.benchmarks.minutes.checkouts import Checkout, Clone
from tests.benchmarks.minutes.machine import watched
from tests.benchmarks.minutes.photos import draw
from tests.benchmarks.minutes.results import found_by, write_split
from tests.benchmarks.minutes.turns import Figures, Ratio, Row, Way

ROOT = Path(__file__).parents[3]
CELLS = Path(__file__).with_name("cells.yaml")
PEER_SIDE = 224  # pixels, as fastai and PyTorch's tutorial take images


@dataclass(frozen=True)
class Asked:
    """What the benchmark was asked for.

    Attributes:
        checkouts: the versions that are compared, by side.
        folder: where clones, images and logs are.
        peer: Python that has fastai; None: rows go without it.
        photos: folders with a folder a class.
        a_class: photographs of each class.
        racing: JSON of what racing cost.
    """

    checkouts: Mapping[str, Checkout]
    folder: Path
    peer: Path | None
    photos: tuple[Path, ...]
    a_class: int
    racing: Path | None


def rows() -> dict[str, Callable[[Asked], Row]]:
    """Return every row by its name, in the order in which they are measured."""
    return {
        "first": first,
        "compare": compare,
        "nothing": nothing,
        "photos": photos,
        "networks": networks,
        "eight": eight,
        "stage": stage,
        "doors": doors,
        "forward": forward,
        "training": training,
        "store": store,
        "frozen": frozen,
        "head": head,
        "tenfold": tenfold,
        "racing": racing,
    }


def first(asked: Asked) -> Row:
    """``dvc repro`` of the project as it is committed, in a fresh clone."""
    return Row(
        "first",
        "dvc repro in a fresh clone, weights and images fetched before, without installation",
        _by_side(asked, lambda side: _repro(asked, side, "first")),
        (*_after("seconds"), *_after("training"), *_after("peak_mib"), *_after("outside_training")),
    )


def compare(asked: Asked) -> Row:
    """The stage ``compare`` again, where ``first`` has run."""

    def run(side: str) -> Figures:
        work = _finished(asked, side).run("dvc", "repro", "--single-item", "--force", "compare", log=f"{side}-compare")
        return {"seconds": work.seconds, "silence": work.longest_silence(), "peak_mib": work.peak_mib}

    what = "dvc repro --single-item --force compare, after the row 'first'; silence: most seconds between two lines"
    return Row("compare", what, _by_side(asked, run), (*_after("seconds"), *_after("silence")))


def nothing(asked: Asked) -> Row:
    """``dvc repro`` again, where ``first`` has run."""

    def run(side: str) -> Figures:
        return {"seconds": _finished(asked, side).run("dvc", "repro", log=f"{side}-nothing").seconds}

    return Row("nothing", "dvc repro with nothing to do", _by_side(asked, run), _after("seconds"))


def photos(asked: Asked) -> Row:
    """``dvc repro`` on a folder of photographs, against fastai on the same files and split."""
    if not asked.photos:
        raise typer.BadParameter("the row 'photos' needs --photos FOLDER, which has a folder a class, once or more")
    folder = draw(asked.photos, asked.folder / f"photographs-{asked.a_class}", asked.a_class).absolute()
    params = {"data": {"source": "folder", "path": str(folder)}}
    ways = _by_side(asked, lambda side: _repro(asked, side, "photos", params))
    count = sum(1 for _ in folder.glob("*/*"))
    classes = sum(1 for _ in folder.iterdir())
    return Row(
        "photos",
        f"from {count} photographs in {classes} classes to the report, eight strategies; fastai: one fine_tune(5)",
        ways | _fastai(asked, lambda: _split_of(asked, "photos", None), PEER_SIDE),
        (*_after("seconds"), Ratio("seconds", "after", "fastai"), *_after("peak_mib")),
    )


def networks(asked: Asked) -> Row:
    """One network, four of which two are kept, and four whose every candidate is trained to its end."""
    if "after" not in asked.checkouts or not asked.photos:
        raise typer.BadParameter("the row 'networks' needs --after CHECKOUT, and --photos FOLDER once or more")
    folder = draw(asked.photos, asked.folder / f"photographs-{asked.a_class}", asked.a_class).absolute()
    one: dict[str, dict[str, Any]] = {"data": {"source": "folder", "path": str(folder)}}
    four = one | {"backbones": {f"lite{place}": {"name": f"efficientnet_lite{place}"} for place in range(3)}}
    params = {
        "one": one,
        "two": four | {"screen": {"keep": 2}},
        "all": four | {"screen": {"keep": 4}, "train": {"budget": "none"}},
    }
    revision = asked.checkouts["after"].revision
    ways = {name: Way(partial(_repro, asked, "after", f"networks-{name}", of), revision) for name, of in params.items()}
    return Row(
        "networks",
        "a folder of photographs: MobileNetV2 alone; two kept of it and three EfficientNet-Lite; all four to their end",
        ways,
        (Ratio("seconds", "two", "one"), Ratio("seconds", "two", "all"), Ratio("training", "two", "all")),
    )


def eight(asked: Asked) -> Row:
    """All default strategies on the solar cells at 224 pixels, against fastai's one."""
    params = {"data": {"size": PEER_SIDE}}
    ways = _by_side(asked, lambda side: _repro(asked, side, "eight", params))
    return Row(
        "eight",
        "eight strategies on the solar cells at 224 pixels, from raw files to the report; fastai: one fine_tune(5)",
        ways | _fastai(asked, lambda: _split_of(asked, "eight", PEER_SIDE), None),
        (*_after("seconds"), Ratio("seconds", "after", "fastai"), *_after("peak_mib")),
    )


def stage(asked: Asked) -> Row:
    """A fine-tuning's stage less its training, in a small project."""
    ways = _by_side(asked, lambda side: small.outside_training(_small(asked, side)))
    return Row("stage", "python -m tasks finetune --strategy head_only, less its training", ways, _after("seconds"))


def doors(asked: Asked) -> Row:
    """What is waited for around little work, by either door."""
    ways = _by_side(asked, lambda side: small.doors(_small(asked, side)))
    what = "one strategy and the comparison again, in a small project: dvc repro, python -m flows.compare; tasks --help"
    return Row("doors", what, ways, (*_after("repro"), *_after("flow"), *_after("help")))


def forward(asked: Asked) -> Row:
    """Images a second that a network answers: the engine that a version chooses, and PyTorch as it is."""

    def run(side: str) -> Figures:
        program = str(ROOT / "tests/benchmarks/forward.py")
        return _last_line(_prepared(asked, side), "-P", program)

    ratios = (*_after("chosen"), *_after("one_chosen"))
    return Row("forward", "images a second of MobileNetV2's answers, 288 pixels", _by_side(asked, run), ratios)


def training(asked: Asked) -> Row:
    """Images a second of training: the loop, the bare step, PyTorch's tutorial and fastai."""
    ways = _by_side(asked, lambda side: _ours(asked, side, "steps"))
    peers = {"tutorial": Way(lambda: _peer(asked, Path(sys.executable), "tutorial", _cells(asked)))}
    peers |= _fastai(asked, lambda: _cells(asked), None)
    return Row(
        "training",
        "images a second of training 'full' on the solar cells at 224 pixels; bare: a step on tensors in memory",
        ways | peers,
        (*_after("epoch_images_a_second"), *_after("bare_images_a_second")),
    )


def store(asked: Asked) -> Row:
    """Images a second of filling the store of frozen activations."""
    what = "images a second of filling the store of activations, 224 pixels; bare: the forward pass"
    return Row(
        "store", what, _by_side(asked, lambda side: _ours(asked, side, "filler")), _after("ours_images_a_second")
    )


def frozen(asked: Asked) -> Row:
    """Seconds of an epoch with most stages frozen, with the store and without."""
    what = "seconds of an epoch with four of five stages frozen, from the second on: kept in the store, and anew"
    return Row("frozen", what, _by_side(asked, lambda side: _ours(asked, side, "epochs")), _after("kept_seconds"))


def head(asked: Asked) -> Row:
    """``head_only`` from stored images to test metrics."""
    ways = _by_side(asked, lambda side: _ours(asked, side, "strategies", "head_only"))
    ways |= _fastai(asked, lambda: _cells(asked), None)
    ratios = (*_after("seconds"), Ratio("seconds", "fastai", "after"))
    return Row("head", "head_only from stored images of 224 pixels to test metrics; fastai: fine_tune(5)", ways, ratios)


def tenfold(asked: Asked) -> Row:
    """Time and memory of a set and of its tenfold."""

    def run(side: str) -> Figures:
        one, ten = (_ours(asked, side, "copies", times) for times in ("1", "10"))
        ratios = {f"{name}_ratio": ten[name] / one[name] for name in ("seconds", "peak_mib")}
        return {"once": one, "tenfold": ten, **ratios}

    what = "head_only, from stored images to test metrics, on every image once and ten times"
    return Row("tenfold", what, _by_side(asked, run), (*_after("seconds_ratio"), *_after("tenfold.seconds")))


def racing(asked: Asked) -> Row:
    """What racing cost and saved, as ``python -m tests.benchmarks.racing replay`` found it."""
    if asked.racing is None:
        raise typer.BadParameter("the row 'racing' needs --racing FILE, which tests.benchmarks.racing replay writes")
    file = asked.racing

    def run() -> Figures:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise typer.BadParameter(f"--racing {file} holds no figures by name")
        return dict(content)

    revision = asked.checkouts["after"].revision if "after" in asked.checkouts else ""
    what = "comparisons with the race, against the same ones trained to their end"
    return Row("racing", what, {"after": Way(run, revision)})


def _by_side(asked: Asked, run: Callable[[str], Figures]) -> dict[str, Way]:
    return {side: Way(partial(run, side), checkout.revision) for side, checkout in asked.checkouts.items()}


def _after(figure: str) -> tuple[Ratio]:
    return (Ratio(figure, "after", "before"),)


def _repro(asked: Asked, side: str, name: str, params: Mapping[str, Mapping[str, Any]] | None = None) -> Figures:
    checkout = asked.checkouts[side]
    _fetched(asked, side)
    clone = checkout.clone(asked.folder / name / side, params)
    return found_by(clone.root, clone.run("dvc", "repro", log=side))


def _fetched(asked: Asked, side: str) -> None:
    """Fetch weights into the cache that all clones share, unless they are there."""
    if not any(asked.folder.glob("kept/cache/weights/*")):
        asked.checkouts[side].fetch_once(asked.folder / "fetched" / side)


def _finished(asked: Asked, side: str) -> Clone:
    clone = Clone((asked.folder / "first" / side).absolute(), asked.checkouts[side].kept.absolute())
    if not (clone.root / "data/reports/comparison.json").is_file():
        raise typer.BadParameter(f"nothing was compared in {clone.root}: measure the row 'first' before this one")
    return clone


def _prepared(asked: Asked, side: str) -> Clone:
    """Return a clone with the solar cells prepared for ``tests.benchmarks.ours``, made once a revision."""
    checkout = asked.checkouts[side]
    clone = Clone((asked.folder / "cells" / f"{side}-{checkout.revision}").absolute(), checkout.kept.absolute())
    if not (clone.root / "data/pixels.npy").is_file():
        checkout.clone(clone.root)
        (clone.root / "params.yaml").write_bytes(CELLS.read_bytes())
        for step in ("fetch", "prepare", "backbone"):
            clone.python("-m", "tasks", step)
    return clone


def _small(asked: Asked, side: str) -> Clone:
    checkout = asked.checkouts[side]
    return small.project(checkout, asked.folder / "small" / f"{side}-{checkout.revision}")


def _ours(asked: Asked, side: str, *arguments: str) -> Figures:
    return _last_line(_prepared(asked, side), "-m", "tests.benchmarks.ours", *arguments)


def _last_line(clone: Clone, *arguments: str) -> Figures:
    return _figures([line for _, line in clone.python(*arguments, log="ours").lines])


def _figures(lines: list[str]) -> Figures:
    """Return the figures in the last line of JSON that a program printed."""
    figures: Figures = json.loads([line for line in lines if line.startswith("{")][-1])
    return figures


def _cells(asked: Asked) -> Path:
    """Return the solar cells as others read them, written once."""
    target = asked.folder / "cells" / "images"
    if not target.is_dir():
        write_split(_prepared(asked, list(asked.checkouts)[-1]).root, target, PEER_SIDE)
    return target


def _split_of(asked: Asked, name: str, side: int | None) -> Path:
    """Return the images of a comparison that has run, in its split, written once."""
    target = asked.folder / name / "images"
    if not target.is_dir():
        write_split(asked.folder / name / list(asked.checkouts)[-1], target, side)
    return target


def _fastai(asked: Asked, images: Callable[[], Path], side: int | None) -> dict[str, Way]:
    """Return the way of fastai, where its Python was named.

    Args:
        asked: what the benchmark was asked for.
        images: returns the folder of images, once it is needed.
        side: height and width in pixels that fastai brings images to; None: they have one size.
    """
    if asked.peer is None:
        return {}
    peer, options = asked.peer, ("--size", str(side)) if side else ()
    return {"fastai": Way(lambda: _peer(asked, peer, "fastai", images(), *options), "fastai")}


def _peer(asked: Asked, python: Path, name: str, images: Path, *options: str) -> Figures:
    checkout = next(iter(asked.checkouts.values()))
    home = Clone((asked.folder / "peers").absolute(), checkout.kept.absolute())
    home.root.mkdir(parents=True, exist_ok=True)
    environment = home.environment(PYTHONPATH=str(ROOT))
    _share_weights(Path(environment["THAWLINE_CACHE"]), Path(environment["TORCH_HOME"]))
    command = (str(python.absolute()), "-m", "tests.benchmarks.peers", name, str(images.absolute()), *options)
    work = watched(command, home.root, environment, asked.folder / f"{name}.log")
    return {**_figures([line for _, line in work.lines]), "process_seconds": work.seconds, "peak_mib": work.peak_mib}


def _share_weights(cache: Path, torch_home: Path) -> None:
    """Let torch.hub find the weights that were fetched."""
    target = torch_home / "hub/checkpoints"
    target.mkdir(parents=True, exist_ok=True)
    for file in cache.glob("weights/*.pth"):
        if not (target / file.name).exists():
            os.link(file, target / file.name)
