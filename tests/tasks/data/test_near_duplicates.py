"""Images that show the same: found through what cameras and programs do to copies, and told apart from all others."""

import io
from collections.abc import Callable
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from tasks.arrays import Thumbnails
from tasks.data import near_duplicates
from tasks.data.fingerprints import SIDE, thumbnail
from tasks.data.near_duplicates import find_near_duplicates
from tasks.params import SplitParams
from tests.benchmarks.duplicates import random_fields
from tests.support.cells import packaged_cells

Grey = npt.NDArray[np.uint8]
Links = set[tuple[int, int]]
SIZE = 96
THRESHOLD = SplitParams().near_duplicates


def toned(change: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Callable[[Grey], Grey]:
    """Return what changes an image by a tone curve on [0, 1], clipped and rounded as a camera does."""
    return lambda image: np.rint(np.clip(change(image / 255), 0, 1) * 255).astype(np.uint8)


def sized(width: int, height: int) -> Callable[[Grey], Grey]:
    """Return what scales an image."""
    return lambda image: np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def compressed(quality: int) -> Callable[[Grey], Grey]:
    """Return what writes an image as JPEG and reads it again."""

    def change(image: Grey) -> Grey:
        target = io.BytesIO()
        Image.fromarray(image).save(target, "JPEG", quality=quality)
        return np.asarray(Image.open(target))

    return change


COPIES: dict[str, Callable[[Grey], Grey]] = {
    "the same": lambda image: image,
    "a quarter of the exposure": toned(lambda image: image * 0.25),
    "half the exposure": toned(lambda image: image * 0.5),
    "gamma 0.5": toned(lambda image: image**0.5),
    "gamma 2": toned(lambda image: image**2),
    "offset": toned(lambda image: image * 0.7 + 0.2),
    "smaller": sized(64, 64),
    "larger, another aspect": sized(240, 180),
    "JPEG 90": compressed(90),
    "JPEG 40": compressed(40),
    "darker, smaller, JPEG 60": lambda image: compressed(60)(sized(70, 70)(toned(lambda values: values * 0.6)(image))),
}
MANY_CHANGES = {"darker, smaller, JPEG 60"}


def thumbnails_of(images: list[Grey]) -> Thumbnails:
    """Return what the program compares: images brought to the working size, and made small from there."""
    resized = [Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR) for image in images]
    return np.stack([thumbnail(np.asarray(image)[..., None]) for image in resized])


def links(thumbnails: Thumbnails, threshold: float | bool = THRESHOLD) -> Links:
    """Return the pairs that are found."""
    return {(int(i), int(j)) for i, j in find_near_duplicates(thumbnails, threshold).pairs}


@pytest.fixture(scope="module")
def photographs() -> list[Grey]:
    """Crops of two photographs that have nothing in common."""
    crops = []
    for name in ("china.jpg", "flower.jpg"):
        picture = Image.fromarray(load_sample_image(name)).convert("L")
        crops += [
            np.asarray(picture.crop((left, top, left + 160, top + 160)))
            for left in range(0, 480, 160)
            for top in (0, 200)
        ]
    return crops


@pytest.fixture(scope="module")
def cells_and_photographs(photographs: list[Grey]) -> list[Grey]:
    """Three hundred solar cells, which look much like each other, and the photographs."""
    paths = sorted((packaged_cells() / "images").glob("*.png"))[::9][:300]
    return [np.asarray(Image.open(path).convert("L")) for path in paths] + photographs


@pytest.fixture(scope="module")
def distinct(cells_and_photographs: list[Grey]) -> list[Grey]:
    """Those of them that are alike to no other at the first look: neighbouring shots are in the data set, too."""
    matched = {place for pair in links(thumbnails_of(cells_and_photographs)) for place in pair}
    assert len(matched) < 0.25 * len(cells_and_photographs)
    return [image for place, image in enumerate(cells_and_photographs) if place not in matched]


@pytest.fixture(scope="module")
def copied(cells_and_photographs: list[Grey]) -> tuple[Links, dict[str, Links]]:
    """What is found among the images and some copies of each kind, and of each kind what should be."""
    images, wanted = list(cells_and_photographs), {}
    for kind, change in COPIES.items():
        chosen = range(0, len(cells_and_photographs), 10)
        wanted[kind] = {(place, len(images) + number) for number, place in enumerate(chosen)}
        images += [change(cells_and_photographs[place]) for place in chosen]
    return links(thumbnails_of(images)), wanted


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found(copied: tuple[Links, dict[str, Links]], kind: str) -> None:
    """A copy at another exposure, size, format or quality is found, and joined with its own original."""
    joined, wanted = copied
    assert len(wanted[kind]) > 20
    assert len(wanted[kind] & joined) >= (0.85 if kind in MANY_CHANGES else 0.95) * len(wanted[kind])


def test_different_photographs_are_not_joined(photographs: list[Grey], distinct: list[Grey]) -> None:
    """Different photographs, and photographs and cells, are told apart, few or many, at any threshold in reason."""
    assert links(thumbnails_of(photographs)) == set()
    many = len(distinct)
    assert many > 200
    darker = [COPIES["half the exposure"](image) for image in distinct]
    pairs = links(thumbnails_of(distinct + darker))
    assert {(first, second) for first, second in pairs if second != first + many} == set()


def test_flat_images_are_joined_with_nothing(photographs: list[Grey]) -> None:
    """Black, white and grey images show nothing: no two of them show the same, even if they are identical."""
    flat = [np.full((SIZE, SIZE), value, dtype=np.uint8) for value in (0, 0, 128, 128, 251, 255, 255)]
    assert links(thumbnails_of(flat + photographs)) == set()
    assert links(thumbnails_of(flat)) == set()
    assert links(thumbnails_of(flat[:1])) == set()
    assert links(thumbnails_of(photographs)[:0]) == set()


@pytest.mark.parametrize("gain", [1.25, 1.5])
def test_overexposed_copies_are_mostly_found(cells_and_photographs: list[Grey], gain: float) -> None:
    """Copies whose brightest parts are clipped to white are found by what is left of them."""
    copied = range(0, len(cells_and_photographs), 6)
    brighter = toned(lambda image: image * gain)
    bright = [brighter(cells_and_photographs[place]) for place in copied]
    assert np.mean([np.mean(image == 255) > 0.02 for image in bright]) > 0.1
    pairs = links(thumbnails_of(cells_and_photographs + bright))
    wanted = {(place, len(cells_and_photographs) + number) for number, place in enumerate(copied)}
    assert len(wanted & pairs) >= 0.8 * len(wanted)


def test_order_of_listing_changes_nothing(cells_and_photographs: list[Grey]) -> None:
    """The same images in another order make the same pairs, just as alike."""
    copies = [COPIES["JPEG 40"](image) for image in cells_and_photographs[::5]]
    thumbnails = thumbnails_of(cells_and_photographs + copies)
    order = np.random.default_rng(0).permutation(len(thumbnails))
    straight, shuffled = find_near_duplicates(thumbnails, 0.8), find_near_duplicates(thumbnails[order], 0.8)
    assert len(straight.pairs) >= len(copies) * 0.9
    named = {
        tuple(sorted(order[pair].tolist())): similarity
        for pair, similarity in zip(shuffled.pairs, shuffled.similarities, strict=True)
    }
    assert named == {
        tuple(pair.tolist()): similarity for pair, similarity in zip(straight.pairs, straight.similarities, strict=True)
    }


def test_pairs_are_told_once_with_how_alike_they_are(cells_and_photographs: list[Grey]) -> None:
    """Each pair is listed once, the earlier image first, with a number between the threshold and 1."""
    copies = [COPIES["smaller"](image) for image in cells_and_photographs[:60]]
    pairs, values, _ = find_near_duplicates(thumbnails_of(cells_and_photographs + copies), THRESHOLD)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs) == len(values)
    assert ((values >= THRESHOLD) & (values <= 1)).all()


def test_higher_threshold_finds_no_more(cells_and_photographs: list[Grey]) -> None:
    """What is alike at a high threshold is alike at a lower one."""
    thumbnails = thumbnails_of(cells_and_photographs)
    by_threshold = [links(thumbnails, threshold) for threshold in (0.6, 0.75, 0.9, 1.0)]
    assert all(above <= below for below, above in pairwise(by_threshold))
    assert len(by_threshold[0]) > len(by_threshold[-1])


def test_comparison_can_be_switched_off(cells_and_photographs: list[Grey]) -> None:
    """``near_duplicates: false`` joins nothing, not even identical images."""
    near = find_near_duplicates(thumbnails_of(cells_and_photographs[:5] * 2), False)
    assert near.pairs.shape == (0, 2)
    assert near.similarities.shape == (0,)


@pytest.mark.parametrize("overexposed", [False, True])
def test_large_sets_are_searched_nearly_as_well(monkeypatch: pytest.MonkeyPatch, overexposed: bool) -> None:
    """Where not each image is compared with each, at least 99 % of the pairs are found still, and no others."""
    rng = np.random.default_rng(3)
    fields = random_fields(2400, rng)
    planted = rng.choice(len(fields), 600, replace=False)
    noisy = fields[planted] * rng.uniform(0.3, 1.6 if overexposed else 0.9, (600, 1, 1))
    copies = np.clip(noisy + rng.normal(0, 6, (600, SIDE, SIDE)), 0, 255).astype(np.uint8)
    thumbnails = np.concatenate([fields, copies])
    exact = links(thumbnails)
    assert len(exact) > 500
    monkeypatch.setattr(near_duplicates, "EXACT", 500)
    pairs = links(thumbnails)
    assert pairs <= exact
    assert len(pairs) >= 0.99 * len(exact)


def test_groups_of_copies_are_joined_throughout(photographs: list[Grey]) -> None:
    """Of several copies of one photograph, nearly each is joined with each, and none with those of another."""
    kinds = ["the same", "half the exposure", "gamma 2", "JPEG 90"]
    images = [COPIES[kind](image) for image in photographs for kind in kinds]
    wanted = {
        pair
        for start in range(0, len(images), len(kinds))
        for pair in combinations(range(start, start + len(kinds)), 2)
    }
    pairs = links(thumbnails_of(images))
    assert pairs <= wanted
    assert len(pairs) >= 0.8 * len(wanted)
