"""The page is whole in itself, shows every strategy, and runs nothing that a class name says."""

import base64
import io
import re
import warnings
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from tasks.comparison import report
from tasks.comparison.entrants import Entrant, Repeated
from tasks.comparison.figures.repeats import draw_shares
from tasks.comparison.ranking import rank
from tasks.comparison.schema import Chance, Comparison, OnShare, SuspectLabel
from tasks.evaluation.probes import Pretence
from tests.tasks.comparison.conftest import PARAMS, MakeEntrant, comparison_of, ranked_of, stopped
from tests.tasks.comparison.pages import CLASSES, EVIL, data_of, svg_of, upper_half

LOADING = {"src", "href", "data", "poster", "srcset", "action", "background"}


PRETENCES = [Pretence("nearest neighbour", [0.61, 0.63], [0.91, 0.93])]


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


def content_of(address: str) -> bytes:
    """Return the picture that an address holds."""
    return base64.b64decode(address.partition(",")[2])


def panels_of(content: bytes) -> list[bytes]:
    """Return the pictures that stand side by side in a file; a single one is its only one."""
    images = re.findall(rb'<image [^>]*href="([^"]+)"', content)
    return [content_of(image.decode()) for image in images] or [content]


def size_of(content: bytes) -> tuple[float, float]:
    """Return the width and the height of a picture, in its own unit."""
    if content.startswith(b"<?xml"):
        tree = svg_of(content)
        return float(str(tree.get("width")).removesuffix("pt")), float(str(tree.get("height")).removesuffix("pt"))
    with Image.open(io.BytesIO(content)) as image:
        return image.size


class Written(NamedTuple):
    """A report on disk."""

    comparison: Comparison
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
    comparison = comparison_of(ranked_of(entrants, CLASSES), CLASSES)
    folder = tmp_path_factory.mktemp("report")
    champion = next(entered.tables("test")[0] for entered in entrants if entered.name == comparison.champion)
    assert (champion["label"] != champion["predicted"]).any(), "there are mistakes to show"
    data = data_of(cells, PRETENCES)
    doubted = SuspectLabel(path=data.table["path"][3], label=EVIL, suggested=CLASSES[1], probability=0.97)
    comparison = comparison.model_copy(update={"suspect_labels": [doubted]})
    pictures = report.write(comparison, champion, data, upper_half, folder / "page.html", folder / "figures")
    raw = (folder / "page.html").read_text(encoding="utf-8")
    return Written(comparison, raw, Page(raw), pictures)


def test_the_page_loads_nothing_from_elsewhere(written: Written) -> None:
    """Every picture is inside the page; there is no address to fetch, in tags or in styles."""
    assert written.page.loads
    assert all(re.match(r"data:image/(png|svg\+xml);base64,", address) for address in written.page.loads)
    assert not re.search(r"url\(|@import", written.raw)
    assert not {"link", "iframe", "object", "embed", "base"} & set(written.page.tags)


def test_every_picture_is_embedded(written: Written) -> None:
    """The embedded pictures are those on disk, or what these consist of; each is readable and has something on it."""
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
    on_disk = [panel for content in files.values() for panel in panels_of(content)]
    embedded = [content_of(address) for address in written.page.loads]
    assert sorted(embedded) == sorted(on_disk)
    assert len(embedded) > len(files)
    for picture, content in zip(written.page.pictures, embedded, strict=True):
        if content.startswith(b"<?xml"):
            drawn = [element for element in svg_of(content).iter() if element.get("d")]
            assert len(drawn) > 10
            continue
        assert picture["class"] != "legend"
        with Image.open(io.BytesIO(content)) as image:
            assert min(image.size) > 60
            assert len(image.convert("L").getcolors() or []) > 10


def test_drawings_are_sharp_and_photographs_small(written: Written) -> None:
    """What is drawn is a vector graphic, of any size; what was photographed is not."""
    kinds = {picture["alt"]: address.partition(";")[0] for picture, address in zip(
        written.page.pictures, written.page.loads, strict=True
    )}  # fmt: skip
    photographs = ("misclassified images", "images whose label is doubted", "samples of every class", "images of the")
    assert {kind for words, kind in kinds.items() if (words or "").startswith(photographs)} == {"data:image/png"}
    assert {kind for words, kind in kinds.items() if not (words or "").startswith(photographs)} == {
        "data:image/svg+xml"
    }


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
    measured = [result for result in written.comparison.strategies.values() if result.robustness]
    strategies = measured if "corruptions" in words else written.comparison.strategies
    assert len(panels) == len(strategies) + others
    assert all(int(picture["width"] or 0) <= report.PLAIN for picture in panels)


def test_every_picture_is_described_and_keeps_its_shape(written: Written) -> None:
    """Who can't see a picture reads what is on it, none like another; its shape is known before it is loaded."""
    words = [picture["alt"] for picture in written.page.pictures]
    assert all(words)
    assert len(set(words)) == len(words)
    for picture, address in zip(written.page.pictures, written.page.loads, strict=True):
        width, height = size_of(content_of(address))
        assert int(picture["width"] or 0) / int(picture["height"] or 0) == pytest.approx(width / height, rel=0.02)


def test_the_same_comparison_is_the_same_page(
    written: Written, entrant: MakeEntrant, cells: Path, tmp_path: Path
) -> None:
    """Byte for byte: nothing of the day or of chance is in it."""
    comparison, champion = written.comparison, entrant("full", 2.0, classes=CLASSES).tables("test")[0]
    pages = []
    for name in ("first", "second"):
        report.write(comparison, champion, data_of(cells), upper_half, tmp_path / f"{name}.html", tmp_path / name)
        pages.append((tmp_path / f"{name}.html").read_bytes())
    assert pages[0] == pages[1]


def test_doubted_labels_are_on_the_page(written: Written) -> None:
    """With the image itself, and as a file."""
    assert "suspects" in {picture.stem for picture in written.pictures}
    assert any("doubted" in (picture["alt"] or "") for picture in written.page.pictures)


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
    strategies = list(written.comparison.strategies.values())
    rows = written.page.rows[header + 1 : header + 1 + len(strategies)]
    for row, result in zip(rows, strategies, strict=True):
        star = "★ " if result.name == written.comparison.champion else ""
        assert row[0].strip() == f"{star}{result.name}"
        assert f"{result.val.auroc:.3f}" in row[1]
        assert f"{result.tested.auroc:.3f}" in row[3]
        assert f"{result.tested.accuracy:.3f}" in row[4]
        assert f"{result.trainable_parameters:,}" in row[-1]


def test_the_page_has_the_verdict_and_the_provenance(written: Written) -> None:
    """A reader finds what won, on which data, and how it can be made again."""
    text = " ".join(written.page.text.split())
    comparison = written.comparison
    assert comparison.verdict in text
    for fact in (
        comparison.data.path,
        comparison.data.digest,
        comparison.test_read_at,
        comparison.mlflow_run_id,
        "dvc repro",
    ):
        assert fact in text
    made = comparison.made_with
    packages = [f"{name} {version}" for name, version in made.packages.items()]
    for fact in (made.code_sha256, made.params_digest, made.params, f"Python {made.python}", made.machine, *packages):
        assert fact in text
    assert f"git checkout {made.commit} python3 -m venv" in text
    for group in ("mono", "poly"):
        assert any(row and row[0] == group for row in written.page.rows)


def test_the_page_says_what_an_answer_costs(written: Written) -> None:
    """Latency, throughput and size are the champion's."""
    serving, words = written.comparison.leader.serving, " ".join(written.page.text.split())
    assert serving is not None
    assert f"{written.comparison.leader.name} answers an image in {serving.milliseconds:.1f} ms" in words
    assert f"{serving.images_a_second:.0f} images a second" in words
    assert f"{serving.model_bytes / 1e6:.1f} MB" in words


def test_without_mistakes_none_are_shown(entrant: MakeEntrant, cells: Path, tmp_path: Path) -> None:
    """A champion that was always right has no picture of mistakes, and the page no heading for them."""
    perfect = entrant("perfect", 60.0)
    comparison = comparison_of(ranked_of([perfect]))
    (tested,) = perfect.tables("test")
    assert (tested["label"] == tested["predicted"]).all()
    pictures = report.write(comparison, tested, data_of(cells), upper_half, tmp_path / "page.html", tmp_path)
    assert "mistakes" not in {file.stem for file in pictures}
    assert "mistakes" not in (tmp_path / "page.html").read_text(encoding="utf-8")


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


def test_the_advice_is_shown_with_what_came_of_it(written: Written) -> None:
    """Every strategy with its reason and its score, in the recommended order; warnings as text, not as mark-up."""
    advice = written.comparison.advised.recommendation.order
    header = next(i for i, row in enumerate(written.page.rows) if row and row[0] == "expected")
    for row, advised in zip(written.page.rows[header + 1 :], advice, strict=False):
        assert row[1].strip() == advised.name
        assert advised.reason in row[2]
        assert f"{written.comparison.strategies[advised.name].val.auroc:.3f}" in row[3]
    text = " ".join(written.page.text.split())
    assert "Beware of <few> images." in text
    assert f"would have cost {written.comparison.advised.regret:.3f} validation AUROC" in text


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

    comparison = comparison_of(ranked_of([repeated("full", 2.0, 900), repeated("head_only", 1.5, 90)]))
    champion = entrant("full", 2.0).tables("test")[0]
    files = report.write(comparison, champion, data_of(cells), upper_half, tmp_path / "page.html", tmp_path / "figures")
    assert {"seeds.svg", "shares.svg"} <= {file.name for file in files}
    page = Page((tmp_path / "page.html").read_text())
    row = next(row for row in page.rows if "full" in row[0])
    value, interval = comparison.strategies["full"].figure("val", "auroc")
    assert interval is not None
    assert row[1].startswith(f"{value:.3f}{interval[0]:.3f} – {interval[1]:.3f}")
    assert "means over 3 seeds" in " ".join(page.text.split())
    panels = draw_shares(comparison)
    assert panels is not None
    titles = [figure.axes[0].get_title("left").removeprefix("★ ") for figure in panels.figures]
    assert titles == list(comparison.strategies)


def test_any_script_is_shown(entrant: MakeEntrant, cells: Path, tmp_path: Path) -> None:
    """What pictures can't write is a number in them, and in words beside them, in its own direction."""
    classes = ["猫", "قطة"]
    entrants = [entrant("full", 2.0, 900, 30.0, classes=classes), entrant("head_only", 1.9, 90, 3.0, classes=classes)]
    comparison = comparison_of(ranked_of(entrants, classes), classes)
    champion = next(entered.tables("test")[0] for entered in entrants if entered.name == comparison.champion)
    data = data_of(cells)
    data.table["label"] = data.table["label"].map(dict(zip(CLASSES, classes, strict=True)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as matplotlib warns of what its font lacks
        report.write(comparison, champion, data, upper_half, tmp_path / "page.html", tmp_path)
    raw = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.search(r"In pictures #1 is\s+<bdi>猫</bdi>, #2 is\s+<bdi>قطة</bdi>", raw)


def test_what_lost_the_race_is_shown_as_far_as_it_went(entrant: MakeEntrant, cells: Path, tmp_path: Path) -> None:
    """Its row says where it stopped and how far it stays behind; of the test split there is nothing."""
    entrants = [
        entrant("full", 4.0, 900, 30.0),
        stopped(entrant("scratch", 0.1, 1000, 4.0, "random"), against="full"),
        replace(stopped(entrant("short", 0.2, 10, 2.0), against="full"), history=[]),
    ]
    comparison = comparison_of(ranked_of(entrants))
    (tested,) = entrants[0].tables("test")
    data = data_of(cells)
    data.table["label"] = data.table["label"].map(dict(zip(CLASSES, comparison.data.classes, strict=True)))
    report.write(comparison, tested, data, upper_half, tmp_path / "page.html", tmp_path)
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    words = " ".join(page.text.split())
    for name in ("scratch", "short"):
        row = [" ".join(cell.split()) for cell in next(row for row in page.rows if row and f"× {name}" in row[0])]
        score = comparison.strategies[name].val.auroc
        assert row[:3] == [
            f"× {name}stopped after 30 of 120 images",
            f"{score:.3f}",
            "at least 0.170 behind full had 0.890",
        ]
        assert row[3:7] == ["–"] * 4
        assert f"{name} after 30 of 120 images, at least 0.170 behind full" in words
    assert "Training from scratch was stopped after 30 of 120 images, at least 0.170 behind full" in words
    assert "Runs that the race stopped aren't diagnosed" in words
    assert "Epochs (and seconds) of training until" not in words
    described = [picture["alt"] or "" for picture in page.pictures]
    assert len([words for words in described if words.startswith("confusion matrix of every strategy")]) == 1
    assert len([words for words in described if words.startswith("score under corruptions")]) == 2, "with the legend"


def test_without_a_champion_nothing_was_measured(entrant: MakeEntrant, cells: Path, tmp_path: Path) -> None:
    """The page has neither what an answer costs nor corrupted images, and is whole without."""
    guess = entrant("guess", 0.0)
    ranked = rank([guess], ["intact", "broken"], PARAMS)
    comparison = comparison_of(ranked, chance=Chance(high=0.6, p_value=0.5))
    assert comparison.champion is None
    data = data_of(cells)
    data.table["label"] = data.table["label"].map(dict(zip(CLASSES, comparison.data.classes, strict=True)))
    report.write(comparison, guess.tables("test")[0], data, upper_half, tmp_path / "page.html", tmp_path)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "answers an image in" not in text
    assert 'id="robustness"' not in text
