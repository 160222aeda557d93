"""The page is whole in itself, shows every strategy, and runs nothing that a class name says."""

import base64
import io
import itertools
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from tasks.comparison import figures, repeat_figures, report
from tasks.comparison.compare import Entrant, Repeated
from tasks.comparison.schema import Comparison, OnShare, SuspectLabel
from tasks.data.arrays import Pixels
from tasks.data.quality import describe
from tasks.evaluation.probed import Pretence
from tasks.evaluation.saliency import Map
from tests.tasks.comparison.conftest import MakeEntrant, comparison_of, ranked_of

EVIL = "<script>alert('x')</script>"
CLASSES = [EVIL, "b\"&'$_$ <b>"]
LOADING = {"src", "href", "data", "poster", "srcset", "action", "background"}


PRETENCES = [Pretence("nearest neighbour", [0.61, 0.63], [0.91, 0.93])]


def data_of(cells: Path, pretences: Sequence[Pretence] = ()) -> report.DataPage:
    """Return what is known of the real images, two of which make a group, and one file of which was left out."""
    paths = sorted(path.relative_to(cells).as_posix() for path in cells.rglob("*.png"))
    table = pd.DataFrame(
        {"path": paths, "label": [CLASSES[path.startswith("intact")] for path in paths], "split": "train"}
    ).assign(group=["twins", "twins", *[""] * (len(paths) - 2)], width=300, height=300, mode="L", format="PNG")
    bad = pd.DataFrame({"path": [EVIL], "label": [EVIL], "kind": ["unreadable"], "reason": [f"no image {EVIL}"]})
    leak = {"path": EVIL, "split": "train", "twin": EVIL, "twin_split": "test", "alike": 0.97}
    quality = describe(table.assign(animated=False), bad, pd.DataFrame([leak]), {"integer": (3.0, 4000.0)})

    def picture(path: str) -> Pixels:
        with Image.open(cells / path) as image:
            return np.asarray(image)[..., None]

    return report.DataPage(quality, pretences, table, picture)


def upper_half(path: str, label: str) -> Map:
    """Return a saliency map that is hot in the upper half."""
    return np.repeat(np.array([1, 0], dtype=np.float32), 150)[:, None].repeat(300, axis=1)


class Page(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag and what it loads."""
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs))
        addresses = [value or "" for name, value in attrs if name in LOADING]
        self.loads += [address for address in addresses if not address.startswith("#")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        """Note the text, and which cell it is in."""
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


class Written(NamedTuple):
    """A report on disk."""

    found: Comparison
    raw: str
    page: Page
    pictures: list[Path]


@pytest.fixture(scope="module")
def written(entrant: MakeEntrant, cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A report on three strategies and classes with hostile names."""
    entrants = [
        entrant("full", 2.0, 900, 30.0, classes=CLASSES),
        entrant("head_only", 1.9, 90, 3.0, classes=CLASSES, seed=1),
        entrant("scratch", 0.1, 1000, 40.0, "random", classes=CLASSES),
    ]
    found = comparison_of(ranked_of(entrants, CLASSES), CLASSES)
    folder = tmp_path_factory.mktemp("report")
    champion = next(one.test for one in entrants if one.name == found.champion)
    assert (champion["label"] != champion["predicted"]).any(), "there are mistakes to show"
    data = data_of(cells, PRETENCES)
    doubted = SuspectLabel(path=data.table["path"][3], label=EVIL, suggested=CLASSES[1], probability=0.97)
    found = found.model_copy(update={"suspect_labels": [doubted]})
    pictures = report.write(found, champion, data, upper_half, folder / "page.html", folder / "figures")
    raw = (folder / "page.html").read_text(encoding="utf-8")
    return Written(found, raw, Page(raw), pictures)


def test_the_page_loads_nothing_from_elsewhere(written: Written) -> None:
    """Every picture is inside the page; there is no address to fetch, in tags or in styles."""
    assert written.page.loads
    assert all(address.startswith("data:image/png;base64,") for address in written.page.loads)
    assert not re.search(r"url\(|@import", written.raw)
    assert not {"link", "iframe", "object", "embed", "base"} & set(written.page.tags)


def test_every_picture_is_embedded(written: Written) -> None:
    """The embedded pictures are those on disk, or their panels; each is a readable image with something on it."""
    files = {file.stem: file.read_bytes() for file in written.pictures}
    assert set(files) == {
        "scores",
        "costs",
        "plans",
        "curves",
        "confusions",
        "mistakes",
        "reliability",
        "robustness",
        "data_classes",
        "data_groups",
        "suspects",
    }
    embedded = [base64.b64decode(address.partition(",")[2]) for address in written.page.loads]
    assert {name for name, content in files.items() if content in embedded} == set(files) - report.IN_PANELS
    for picture, content in zip(written.page.pictures, embedded, strict=True):
        with Image.open(io.BytesIO(content)) as image:
            assert min(image.size) > (15 if picture["class"] == "legend" else 60)
            assert len(image.convert("L").getcolors() or []) > 10


@pytest.mark.parametrize(
    ("words", "others"),
    [
        ("confusion matrix of every strategy", 0),
        ("which part of the network trains in which epoch of every strategy", 1),  # the scale of learning rates
        ("losses of every strategy by epoch, and the kept epoch beside the last one", 3),  # legend, losses, accuracies
        ("score under corruptions by severity", 1),  # legend
    ],
)
def test_every_strategy_has_a_panel_that_wraps(written: Written, words: str, others: int) -> None:
    """On a phone or a sheet of paper no panel lies outside: each is an image of its own."""
    panels = [picture for picture in written.page.pictures if (picture["alt"] or "").startswith(f"{words}, ")]
    assert len(panels) == len(written.found.strategies) + others
    assert all(int(picture["width"] or 0) <= report.PLAIN for picture in panels)


def test_every_picture_is_described_and_keeps_its_shape(written: Written) -> None:
    """Who can't see a picture reads what is on it, none like another; its shape is known before it is loaded."""
    words = [picture["alt"] for picture in written.page.pictures]
    assert all(words)
    assert len(set(words)) == len(words)
    for picture, address in zip(written.page.pictures, written.page.loads, strict=True):
        with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
            shown = int(picture["width"] or 0) / int(picture["height"] or 0)
            assert shown == pytest.approx(image.width / image.height, rel=0.02)


def test_the_verdict_comes_first(written: Written) -> None:
    """Above it is nothing but the question and the data; every table and picture is below."""
    verdict = written.raw.index('<div class="verdict">')
    assert verdict < min(written.raw.index(tag) for tag in ("<table", "<img", "<h2"))


def test_class_names_are_text(written: Written) -> None:
    """A class called like a tag is shown as it is written, and never becomes one."""
    assert "script" not in written.page.tags
    assert "<script" not in written.raw.lower()
    assert "b" not in written.page.tags
    cells = [row[0].strip() for row in written.page.rows if row]
    for name in CLASSES:
        assert name in cells


def test_every_strategy_has_its_row(written: Written) -> None:
    """Scores and costs are in the tables, best first; the champion has a star."""
    header = next(i for i, row in enumerate(written.page.rows) if row and row[0] == "strategy")
    strategies = list(written.found.strategies.values())
    rows = written.page.rows[header + 1 : header + 1 + len(strategies)]
    for row, result in zip(rows, strategies, strict=True):
        star = "★ " if result.name == written.found.champion else ""
        assert row[0].strip() == f"{star}{result.name}"
        assert f"{result.val.auroc:.3f}" in row[1]
        assert f"{result.test.auroc:.3f}" in row[3]
        assert f"{result.test.accuracy:.3f}" in row[4]
        assert f"{result.trainable_parameters:,}" in row[-1]


def test_the_page_has_the_verdict_and_the_provenance(written: Written) -> None:
    """A reader finds what won, on which data, and how it can be made again."""
    text = " ".join(written.page.text.split())
    found = written.found
    assert found.verdict in text
    for fact in (found.data.path, found.data.digest, found.test_read_at, found.mlflow_run_id, "dvc repro"):
        assert fact in text
    made = found.made_with
    packages = [f"{name} {version}" for name, version in made.packages.items()]
    for fact in (made.code_sha256, made.params_digest, made.params, f"Python {made.python}", made.machine, *packages):
        assert fact in text
    assert f"git checkout {made.commit} python3 -m venv" in text
    for group in ("mono", "poly"):
        assert any(row and row[0] == group for row in written.page.rows)


def test_the_page_says_what_an_answer_costs(written: Written) -> None:
    """Latency, throughput and size are the champion's."""
    serving, words = written.found.leader.serving, " ".join(written.page.text.split())
    assert f"{written.found.leader.name} answers an image in {serving.milliseconds:.1f} ms" in words
    assert f"{serving.images_a_second:.0f} images a second" in words
    assert f"{serving.model_bytes / 1e6:.1f} MB" in words


def test_without_mistakes_none_are_shown(entrant: MakeEntrant, cells: Path, tmp_path: Path) -> None:
    """A champion that was always right has no picture of mistakes, and the page no heading for them."""
    perfect = entrant("perfect", 60.0)
    found = comparison_of(ranked_of([perfect]))
    assert (perfect.test["label"] == perfect.test["predicted"]).all()
    pictures = report.write(found, perfect.test, data_of(cells), upper_half, tmp_path / "page.html", tmp_path)
    assert "mistakes" not in {file.stem for file in pictures}
    assert "mistakes" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_legend_has_the_colours_of_the_points(written: Written) -> None:
    """Validation and test scores are drawn in the colours that the legend gives them."""
    (axes,) = figures.scores(written.found).axes
    legend = axes.get_legend()
    assert legend is not None
    colours = {
        text.get_text(): to_hex(handle.get_color())  # type: ignore[union-attr]
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    drawn = {}
    for line in axes.lines:
        xs, ys = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        if len(xs) == 1:
            drawn[round(ys[0]), float(xs[0])] = to_hex(line.get_color())
    for row, result in enumerate(written.found.strategies.values()):
        for label, value in (("validation", result.val.auroc), ("test", result.test.auroc)):
            assert value is not None
            assert drawn[row, value] == colours[label]
    assert len(set(colours.values())) == 2


def test_the_worst_mistakes_are_shown(written: Written, entrant: MakeEntrant, cells: Path) -> None:
    """Misclassified images only, the surest first, each with its answer and its label as they are written."""
    table = entrant("full", 0.5, classes=CLASSES).test
    figure = figures.mistakes(table, CLASSES, data_of(cells).picture, upper_half)
    assert isinstance(figure, Figure)
    wrong = table[table["label"] != table["predicted"]]
    sure = wrong[[f"p[{name}]" for name in CLASSES]].max(axis=1).sort_values(ascending=False)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.images]
    assert len(titles) == min(len(wrong), figures.MISTAKES)
    assert [title.splitlines()[0].split()[-1] for title in titles] == [f"{p:.2f}" for p in sure[: len(titles)]]
    for axes in figure.axes[: len(titles)]:
        (shown,) = axes.images
        above, below = np.split(np.asarray(shown.get_array())[:, -300:].astype(int), 2)
        assert np.ptp(above, axis=2).mean() > 50, "what speaks for the answer is coloured"
        assert np.ptp(below, axis=2).max() == 0, "and the rest is as it was"


def test_the_kept_epoch_is_beside_the_last_one(entrant: MakeEntrant) -> None:
    """Every run has its panel with both losses, and its values at the kept and the last epoch lie on one line."""
    overfitted = entrant("full", 2.0)
    overfitted.run["best_epoch"] = 1  # type: ignore[index]
    overfitted.history[1] |= {"val_loss": 0.2, "val_accuracy": 0.9}
    figure = figures.curves(comparison_of(ranked_of([overfitted, entrant("head_only", 0.5)])))
    panels = {axes.get_title(loc="left").removeprefix("★ "): axes for axes in figure.axes[:2]}
    assert {len(axes.lines[0].get_xdata()) for axes in panels.values()} == {3}  # type: ignore[arg-type]
    losses, accuracies = figure.axes[2:]
    row = [label.get_text().removeprefix("★ ") for label in losses.get_yticklabels()].index("full")
    for axes, name in ((losses, "val_loss"), (accuracies, "val_accuracy")):
        line, last, kept = axes.lines[3 * row : 3 * row + 3]
        values = [overfitted.history[epoch][name] for epoch in (1, 2)]
        assert list(line.get_xdata()) == values  # type: ignore[arg-type]
        assert [*kept.get_xdata(), *last.get_xdata()] == values  # type: ignore[misc]


def test_labels_of_costs_cover_nothing(entrant: MakeEntrant) -> None:
    """Strategies that cost and score nearly the same have labels that can be read all the same."""
    alike = [entrant(f"strategy_{i}", 1.0, 500 + i, 10.0 + i / 10, seed=i // 3) for i in range(7)]
    figure = figures.costs(comparison_of(ranked_of(alike)))
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(boxes) == len(alike)
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_the_images_are_described(written: Written) -> None:
    """Counts, what leaks, what was left out and what a random split would have pretended stand on the page."""
    text = " ".join(written.page.text.split())
    assert "2 of 80 images show the same as others" in text
    assert "0.620 if groups stay whole, 0.920 if not (+0.300 ±" in text
    assert "The splits that the source gave leak: 1 pairs" in text
    rows = [[cell.strip().split("\n")[0] for cell in row] for row in written.page.rows]
    assert [EVIL, "train", EVIL, "test"] in [row[:4] for row in rows]
    assert [EVIL, EVIL, f"no image {EVIL}"] in rows
    assert ["mode L", "80"] in rows


def test_plans_show_what_is_frozen_when(written: Written) -> None:
    """A panel a strategy, its parts from the image upwards; cells without a rate are those of frozen phases."""
    figure = figures.plans(written.found)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left").removeprefix("★ ") for axes in panels] == list(written.found.strategies)
    for axes, result in zip(panels, written.found.strategies.values(), strict=True):
        assert [label.get_text() for label in axes.get_yticklabels()] == [part.name for part in result.parts]
        (mesh,) = axes.collections
        rates = np.ma.filled(np.ma.masked_invalid(mesh.get_array()), 0).reshape(len(result.parts), len(result.phases))
        assert rates.tolist() == [[rate or 0 for rate in part.rates] for part in result.parts]
        assert axes.get_xlim() == (0, sum(result.phases))


def test_many_classes_have_one_confusion_matrix(entrant: MakeEntrant) -> None:
    """With dozens of classes the champion's matrix is drawn, in a size that a page has room for, without figures."""
    classes = [f"class {i}" for i in range(80)]
    found = comparison_of(
        ranked_of([entrant(name, 1.0, classes=classes) for name in ("full", "head_only")], classes), classes
    )
    figure = figures.confusions(found)
    (axes,) = figure.axes
    assert axes.get_title(loc="left").removeprefix("★ ") == found.leader.name
    assert max(figure.get_size_inches()) < 12
    assert not axes.texts


def test_a_run_has_its_pictures(tmp_path: Path) -> None:
    """Curves, confusion, plan and range test are drawn, with class names that look like mathematics, too."""
    history = [{"epoch": float(e), "train_loss": 1.0, "val_loss": 1.0 - e / 10} for e in range(3)]
    progress = {"history": history, "best_epoch": 2}
    parts = [{"name": "stem", "parameters": 9, "thaws_at": None, "rates": [None]},
             {"name": "head", "parameters": 5, "thaws_at": 0, "rates": [0.1]}]  # fmt: skip
    curve = [(10.0**-e, 1.0 / e) for e in range(6, 1, -1)]
    scores = {"confusion": [[3, 1], [0, 4]]}
    files = report.run_figures(
        tmp_path, progress, {"parts": parts, "phases": [3]}, [(curve, 1e-3)], scores, ["$_$", r"$\frac$"]
    )
    assert [file.name for file in files] == ["run.png", "freeze_plan.png", "range_test_1.png"]
    for file in files:
        with Image.open(file) as image:
            assert min(image.size) > 200


def test_the_advice_is_shown_with_what_came_of_it(written: Written) -> None:
    """Every strategy with its reason and its score, in the recommended order; warnings as text, not as mark-up."""
    advice = written.found.advised.recommendation.order
    header = next(i for i, row in enumerate(written.page.rows) if row and row[0] == "expected")
    for row, one in zip(written.page.rows[header + 1 :], advice, strict=False):
        assert row[1].strip() == one.name
        assert one.reason in row[2]
        assert f"{written.found.strategies[one.name].val.auroc:.3f}" in row[3]
    text = " ".join(written.page.text.split())
    assert "Beware of <few> images." in text
    assert f"would have cost {written.found.advised.regret:.3f} validation AUROC" in text


def test_seeds_and_shares_are_drawn_where_they_were_asked_for(
    entrant: MakeEntrant, cells: Path, tmp_path: Path
) -> None:
    """With several seeds the cells hold means, and two more pictures show every seed and every number of images."""

    def repeated(name: str, skill: float, trainable: int) -> Entrant:
        others = [entrant(name, skill, seed=seed) for seed in (1, 2)]
        scores = {"auroc": 0.6, "accuracy": 0.5}
        shares = [
            OnShare(share=share, images=int(40 * share), val=scores, train_seconds=1.0, mlflow_run_id="id")
            for share in (0.1, 0.3)
        ]
        seeds = [Repeated(other.run, other.val, other.test) for other in others]
        return replace(entrant(name, skill, trainable), seeds=seeds, shares=shares)

    found = comparison_of(ranked_of([repeated("full", 2.0, 900), repeated("head_only", 1.5, 90)]))
    champion = entrant("full", 2.0).test
    files = report.write(found, champion, data_of(cells), upper_half, tmp_path / "page.html", tmp_path / "figures")
    assert {"seeds.png", "shares.png"} <= {file.name for file in files}
    page = Page((tmp_path / "page.html").read_text())
    row = next(row for row in page.rows if "full" in row[0])
    value, interval = found.strategies["full"].figure("val", "auroc")
    assert interval is not None
    assert row[1].startswith(f"{value:.3f}{interval[0]:.3f} – {interval[1]:.3f}")
    assert "means over 3 seeds" in " ".join(page.text.split())
    panels = repeat_figures.shares(found)
    assert panels is not None
    assert [axes.get_title("left").removeprefix("★ ") for axes in panels.axes] == list(found.strategies)


def test_suspect_labels_are_shown(written: Written, entrant: MakeEntrant, cells: Path) -> None:
    """The image itself, with its label and what it is rather, on the page and as a file; most likely wrong first."""
    assert "suspects" in {picture.stem for picture in written.pictures}
    assert any("doubted" in (picture["alt"] or "") for picture in written.page.pictures)
    data = data_of(cells)
    doubted = [
        SuspectLabel(path=path, label="one", suggested="other", probability=0.9)
        for path in data.table["path"][: figures.MISTAKES + 3]
    ]
    shown = figures.suspects(doubted, ["one", "other"], data.picture)
    assert shown is not None
    panels = [axes for axes in shown.axes if axes.images]
    assert len(panels) == figures.MISTAKES
    assert panels[0].get_title(loc="left") == "labelled one\nrather other 0.90"
    assert np.array_equal(panels[0].images[0].get_array(), data.picture(doubted[0].path)[..., 0])
    assert figures.suspects([], CLASSES, data.picture) is None


def test_any_script_is_shown(entrant: MakeEntrant, cells: Path, tmp_path: Path) -> None:
    """What pictures can't write is a number in them, and in words beside them, in its own direction."""
    classes = ["猫", "قطة"]
    entrants = [entrant("full", 2.0, 900, 30.0, classes=classes), entrant("head_only", 1.9, 90, 3.0, classes=classes)]
    found = comparison_of(ranked_of(entrants, classes), classes)
    champion = next(one.test for one in entrants if one.name == found.champion)
    data = data_of(cells)
    data.table["label"] = data.table["label"].map(dict(zip(CLASSES, classes, strict=True)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as matplotlib warns of what its font lacks
        report.write(found, champion, data, upper_half, tmp_path / "page.html", tmp_path)
    raw = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.search(r"In pictures #1 is\s+<bdi>猫</bdi>, #2 is\s+<bdi>قطة</bdi>", raw)
