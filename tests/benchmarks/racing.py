"""What racing costs and saves: ``python -m tests.benchmarks.racing``.

``record`` trains all strategies of the shipped params to their end on parts of some sets, and keeps what each answered
wherever a race would have looked at it. ``fit`` fits the gains by which ``tasks.comparison.racing`` extrapolates to
recorded curves, and ``replay`` races recorded strategies against each other: the regret of the champion, by whom it was
left, and the share of the training time that was saved. Fit on some sets, and replay the others.
"""

import contextlib
import itertools
import json
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from scipy.special import logit

from tasks.arrays import Floats, Integers
from tasks.comparison import statistics
from tasks.comparison.racing import RESAMPLES, SHARES, Contestant, Look, Standings, rungs
from tasks.comparison.ties import winner_of
from tasks.data.sources.dispatch import find
from tasks.data.sources.listing import LabelledFile
from tasks.params import CompareParams, DataParams, Start, load_params
from tasks.steps import race
from tasks.training.rungs import Rung
from tests.support.paths import ROOT
from tests.support.project import PREPARE, make_project

app = typer.Typer(help=__doc__, add_completion=False)
CHEAPER = CompareParams().cheaper
SECONDS, CONTESTANTS = "seconds", "contestants"


@dataclass(frozen=True)
class Record:
    """What all strategies showed on one set with one seed.

    Attributes:
        name: of the set, with the seed.
        metric: that chooses the champion.
        targets, test_targets: classes of the validation and the test images.
        looks: of each strategy, its end last.
        seconds: of training behind each of them.
        contestants: what was known of each before.
        test: each strategy's answers to the test images at its end.
    """

    name: str
    metric: str
    targets: Integers
    test_targets: Integers
    looks: dict[str, list[Look]]
    seconds: dict[str, list[float]]
    contestants: dict[str, Contestant]
    test: dict[str, Floats]

    def write(self, target: Path) -> None:
        """Keep it in a file."""
        facts = {name: [(look.share, look.images, look.of_images) for look in at] for name, at in self.looks.items()}
        answers = {f"{name}/{i}": look.probabilities for name, at in self.looks.items() for i, look in enumerate(at)}
        contestants = {name: asdict(known) for name, known in self.contestants.items()}
        about = json.dumps(
            {"name": self.name, "metric": self.metric, "looks": facts, SECONDS: self.seconds, CONTESTANTS: contestants}
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        tested = {f"{name}/test": probabilities for name, probabilities in self.test.items()}
        np.savez_compressed(
            target, about=about, targets=self.targets, test_targets=self.test_targets, **answers, **tested
        )

    @classmethod
    def read(cls, source: Path) -> "Record":
        """Read one."""
        with np.load(source) as content:
            about = json.loads(str(content["about"]))
            looks = {
                name: [Look(content[f"{name}/{i}"], *facts) for i, facts in enumerate(at)]
                for name, at in about["looks"].items()
            }
            test = {name: content[f"{name}/test"] for name in looks}
            targets, test_targets = content["targets"], content["test_targets"]
        contestants = {name: Contestant(tuple(c["costs"]), c["start"]) for name, c in about[CONTESTANTS].items()}
        return cls(about["name"], about["metric"], targets, test_targets, looks, about[SECONDS], contestants, test)

    def champion(self, names: Collection[str]) -> str:
        """Return who wins of those strategies that are within one standard error of the best on validation."""
        counts, metric = statistics.draw(len(self.targets), RESAMPLES, 0), statistics.METRICS[self.metric]
        val = {name: value for name, value in self.scores("val").items() if name in names}
        best = max(val, key=val.__getitem__)
        resampled = {name: metric(counts, self.targets, self.looks[name][-1].probabilities) for name in val}
        within = [
            name
            for name, value in val.items()
            if val[best] - value <= float(np.nanstd(resampled[name] - resampled[best]))
        ]
        within.sort(key=lambda name: -val[name])
        return winner_of(within, lambda name: self.contestants[name].costs)

    def scores(self, split: str) -> dict[str, float]:
        """Return what each strategy ends with on ``val`` or ``test``."""
        ends = {name: at[-1].probabilities for name, at in self.looks.items()} if split == "val" else self.test
        targets = self.targets if split == "val" else self.test_targets
        return {name: _score(self.metric, targets, probabilities) for name, probabilities in ends.items()}


@dataclass(frozen=True)
class Part:
    """A random part of a set.

    Attributes:
        source: how ``params.yaml`` calls what lies in the folder.
        seed: of the draw, of the split and of the training.
        size: of the working images, in pixels.
        images: their number at most.
    """

    source: str
    folder: Path
    seed: int
    size: int
    images: int

    def files(self) -> list[LabelledFile]:
        """Return the drawn images, with paths below ``images`` in the working folder, which is made to link to them."""
        usual = Path("data/fetched/elpv")  # where alone the solar cells are looked for
        usual.parent.mkdir(parents=True)
        usual.symlink_to(self.folder)
        where = usual if self.source == "elpv" else self.folder
        listing = find(DataParams.model_validate({"source": self.source, "path": str(where)}), usual.parent)
        Path("images").symlink_to(listing.root.absolute())
        chosen = np.random.default_rng(self.seed).permutation(len(listing.files))[: self.images]
        return [listing.files[place] for place in sorted(chosen)]


@app.command()
def record(
    sets: Annotated[list[Path], typer.Argument(help="Folders with a folder a class; 'elpv:FOLDER' of solar cells.")],
    into: Annotated[Path, typer.Option(help="Folder of the records.")],
    seeds: Annotated[list[int] | None, typer.Option(help="Of split, part and training.")] = None,
    size: Annotated[int, typer.Option(help="Working size in pixels.")] = 160,
    images: Annotated[int, typer.Option(help="Images of each set at most.")] = 700,
    weights: Annotated[str, typer.Option(help="Pretrained weights of the shipped network.")] = "IMAGENET1K_V1",
) -> None:
    """Train all strategies to their end, and keep what each showed on its way."""
    for seed in seeds or [0]:
        for folder in sets:
            source, _, path = str(folder).rpartition(":")
            target = into / f"{Path(path).name}-{seed}.npz"
            if not target.exists():
                trained = Part(source or "folder", Path(path).absolute(), seed, size, images)
                _recorded(trained, target.stem, weights).write(target)


@app.command()
def fit(records: Annotated[list[Path], typer.Argument(help="Files that 'record' wrote.")]) -> None:
    """Print what recorded curves gained from each look to their end, in logits: the mean, and the spread around it."""
    read = [Record.read(file) for file in records]
    table = Table("start", "share", "curves", "mean", "per rise", "spread", "largest")
    starts: tuple[Start, ...] = get_args(Start)
    for start, share in itertools.product(starts, SHARES):
        gains = np.array([gain for known in read for gain in _gains(known, start, share)])
        if len(gains) < 3:
            continue
        rises, left = gains[:, 0], gains[:, 1]
        known = np.isfinite(rises)
        per_rise = max(0.0, float(np.polyfit(rises[known], left[known], 1)[0])) if known.sum() > 5 else 0.0
        rest = left - per_rise * np.where(known, rises, 0)
        values = (rest.mean(), per_rise, rest.std(ddof=1), left.max())
        table.add_row(start, f"{share:g}", str(len(gains)), *(f"{value:.2f}" for value in values))
    Console().print(table)


@app.command()
def replay(
    records: Annotated[list[Path], typer.Argument(help="Files that 'record' wrote.")],
    out: Annotated[Path | None, typer.Option(help="File for the figures, as JSON.")] = None,
) -> None:
    """Race recorded strategies against each other, and print what that cost and saved."""
    rows = [raced(Record.read(file)) for file in records]
    table = Table("set", "champion", "by the race", "regret val", "test", "beyond noise", "saved", "stopped")
    for row in rows:
        stops = ", ".join(f"{name} {share:.0%}" for name, share in row["stopped"].items())
        figures = (f"{row['regret_val']:.4f}", f"{row['regret_test']:+.4f}", str(row["worse"]), f"{row['saved']:.0%}")
        table.add_row(row["set"], row["champion"], row["champion_of_race"], *figures, stops)
    means = {key: float(np.mean([row[key] for row in rows])) for key in ("regret_val", "regret_test", "saved", "worse")}
    Console(width=200).print(table)
    typer.echo(json.dumps(means))
    if out:
        out.write_text(json.dumps({"rows": rows, "mean": means}, indent=2))


def raced(known: Record) -> dict[str, Any]:
    """Race what was recorded; return who wins by it, what that costs against the full comparison, and what it saves."""
    standings, spent = Standings(known.targets, known.metric, known.contestants), dict.fromkeys(known.looks, 0.0)
    stops = race.Race([_racer(name, known) for name in known.looks], None, standings).run()
    for name in known.looks:
        spent[name] = known.seconds[name][_last_look(stops, known, name)]
    total = sum(at[-1] for at in known.seconds.values())
    val, test = known.scores("val"), known.scores("test")
    champion, by_race = known.champion(list(val)), known.champion([name for name in val if name not in stops])
    return {
        "set": known.name,
        "champion": champion,
        "champion_of_race": by_race,
        "regret_val": val[champion] - val[by_race],
        "regret_test": test[champion] - test[by_race],
        "worse": _is_worse(known, by_race, champion),
        "saved": 1 - sum(spent.values()) / total,
        "stopped": {name: stop.share for name, stop in stops.items()},
    }


def _last_look(stops: dict[str, race.Stop], known: Record, name: str) -> int:
    """Return the place of a strategy's last look in a race."""
    if name not in stops:
        return -1
    return next(place for place, look in enumerate(known.looks[name]) if look.images == stops[name].images)


def _racer(name: str, known: Record) -> race.Racer:
    """Return a recorded strategy as a racer whose steps are images."""
    looks, seconds = known.looks[name], known.seconds[name]
    rungs = [*(look.images for look in looks[:-1]), looks[-1].of_images]
    first = looks[0]
    start = 0 if first.share == 1 else round((first.images - first.share * first.of_images) / (1 - first.share))

    def show(until: int) -> Rung:
        place = rungs.index(until)
        return Rung(looks[place].probabilities, looks[place].images, seconds[place], place == len(looks) - 1)

    an_image = seconds[-1] / looks[-1].of_images
    contestant = known.contestants[name]
    return race.Racer(
        name, rungs, start, contestant.start, parameters=0, trainable=0, cost=an_image, milliseconds=0.0,
        cheaper=CHEAPER, look=show, images_after=lambda images: images, say=lambda _: None,
    )  # fmt: skip


def _score(metric: str, targets: Integers, probabilities: Floats) -> float:
    whole = np.ones((1, len(targets)), dtype=np.float32)
    return float(statistics.METRICS[metric](whole, targets, probabilities)[0])


def _gains(known: Record, start: Start, share: float) -> Iterator[tuple[float, float]]:
    """Yield what strategies had gained since the look before, not a number if it is the first, and after.

    Both are in logits, cut off at half an image.
    """
    least = 0.5 / len(known.targets)
    for looks in (looks for name, looks in known.looks.items() if known.contestants[name].start == start):
        scores = [_score(known.metric, known.targets, look.probabilities) for look in looks]
        logits = [float(logit(np.clip(score, least, 1 - least))) for score in scores]
        for place, look in enumerate(looks[:-1]):
            if share * 0.8 < look.share < share * 1.2:
                yield max(0.0, logits[place] - logits[place - 1]) if place else np.nan, logits[-1] - logits[place]


def _is_worse(known: Record, name: str, other: str) -> bool:
    """Return whether a strategy's test score is below another's by more than the interval of their difference."""
    counts = statistics.draw(len(known.test_targets), 1000, 0)
    metric = statistics.METRICS[known.metric]
    resampled = [metric(counts, known.test_targets, known.test[of]) for of in (name, other)]
    scores = [_score(known.metric, known.test_targets, known.test[of]) for of in (name, other)]
    return statistics.paired(*scores, *resampled, 0.95).high < 0


def _recorded(part: Part, name: str, weights: str) -> Record:
    seed = part.seed
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        lines = [f"images/{file.path},{file.label},{file.group}" for file in part.files()]
        Path("table.csv").write_text("\n".join(["path,label,group", *lines]))
        project = make_project(Path(folder) / "project", Path(folder) / "table.csv")
        shipped = load_params(ROOT / "params.yaml")
        params = project.params()
        params["data"] |= {"source": "manifest", "path": str(Path(folder) / "table.csv"), "size": part.size}
        params["data"]["follow_links"] = True
        params["split"] = {"validation": 0.2, "test": 0.3, "seed": seed, "folds": False}
        params["backbone"] = {"name": shipped.backbone.name, "weights": weights}
        content = _yaml(ROOT / "params.yaml")
        params["train"] = content["train"] | {"seed": seed, "budget": "none"}
        params["compare"], params["strategies"] = content["compare"], content["strategies"]
        project.write_params(params)
        project.steps(*PREPARE)
        with project.entered():
            return _looked_at(name, list(content["strategies"]), shipped.compare.metric)


def _looked_at(name: str, strategies: Sequence[str], metric: str) -> Record:
    """Train strategies of the project in the working folder, and return what they showed."""
    from tasks.runs.fine_tuning import FineTuning
    from tasks.training.inference import predict

    looks: dict[str, list[Look]] = {}
    seconds: dict[str, list[float]] = {}
    contestants: dict[str, Contestant] = {}
    test: dict[str, Floats] = {}
    for strategy in strategies:
        racer = FineTuning.read(strategy)
        racer.make_plan()
        before, steps = racer.steps_before_last_phase, racer.steps
        looks[strategy], seconds[strategy] = [], []
        contestants[strategy] = race.Racer.of(racer).contestant
        for until in rungs(before, steps):
            seen = race.look(racer, until)
            share = 1.0 if seen.is_over else (seen.steps - before) / (steps - before)
            images = racer.images_after(seen.steps), racer.images_after(steps)
            looks[strategy].append(Look(seen.probabilities, share, *images))
            seconds[strategy].append(seen.seconds)
            if seen.is_over:
                break
        split = racer.data.split("test")
        trained = racer.train(lambda _: None, steps)
        logits = predict(trained.adapted, split, racer.hardware)
        test[strategy] = logits.double().softmax(1).numpy()
    validated, tested = (racer.data.split(split_name).targets.numpy() for split_name in ("val", "test"))
    return Record(name, metric, validated, tested, looks, seconds, contestants, test)


def _yaml(file: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML

    content: dict[str, Any] = YAML(typ="safe").load(file)
    return content


if __name__ == "__main__":
    app()
