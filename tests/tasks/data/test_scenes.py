"""Shots of a fixed camera: told from copies of an image, and from each other."""

import numpy as np
import pytest
from PIL import Image

from tasks.arrays import Integers
from tasks.data.fingerprints import Thumbnails, thumbnail
from tasks.data.groups import components
from tasks.data.near_duplicates import find_near_duplicates
from tasks.data.scenes import NO_SCENE
from tests.benchmarks.duplicates import fixed_camera, random_fields

SIDE = 224


def thumbnails_of(images: list[Image.Image]) -> Thumbnails:
    """Return what the program compares of grey images."""
    resized = [image.resize((SIDE, SIDE), Image.Resampling.BILINEAR) for image in images]
    return np.stack([thumbnail(np.asarray(image)[..., None]) for image in resized])


def sizes(thumbnails: Thumbnails, labels: Integers, threshold: float = 0.9) -> list[int]:
    """Return the sizes of the groups, the largest first."""
    groups = components(len(thumbnails), find_near_duplicates(thumbnails, threshold, labels).pairs)
    return sorted(np.bincount(groups).tolist(), reverse=True)


def mixed(thumbnails: Thumbnails, labels: Integers) -> int:
    """Return how many groups hold several classes."""
    groups = components(len(thumbnails), find_near_duplicates(thumbnails, 0.9, labels).pairs)
    return sum(len(set(labels[groups == group])) > 1 for group in set(groups))


@pytest.mark.parametrize("defect", [12, 60])
@pytest.mark.parametrize("jitter", [0, 4, 20])
def test_a_fixed_camera_joins_no_good_one_with_a_defect(jitter: int, defect: int) -> None:
    """However far the camera shakes and however large the defect, no group mixes classes or holds a fifth of them."""
    images, labels = fixed_camera(40, jitter, defect, np.random.default_rng(jitter + defect))
    thumbnails = thumbnails_of(images)
    assert mixed(thumbnails, labels) == 0
    assert sizes(thumbnails, labels)[0] <= len(images) / 5


def test_shots_of_a_scene_among_many_other_images() -> None:
    """A scene is found though most of the set is something else, and what else is there is in none."""
    images, labels = fixed_camera(30, 3, 40, np.random.default_rng(1))
    thumbnails = np.concatenate([thumbnails_of(images), random_fields(300, np.random.default_rng(2))])
    labels = np.concatenate([labels, np.full(300, 2)])
    near = find_near_duplicates(thumbnails, 0.9, labels)
    assert len(set(near.scenes[:60].tolist())) == 1
    assert (near.scenes[:60] != NO_SCENE).all()
    assert (near.scenes[60:] == NO_SCENE).all()
    assert sizes(thumbnails, labels)[0] == 1


def test_a_copy_of_a_shot_is_joined_with_that_shot_alone() -> None:
    """What differs from the scene tells which shot a copy was made of."""
    images, labels = fixed_camera(30, 8, 60, np.random.default_rng(3))
    copies = [Image.fromarray((np.asarray(image) * 0.8).round().astype(np.uint8)) for image in images[::6]]
    thumbnails = thumbnails_of(images + copies)
    pairs = find_near_duplicates(thumbnails, 0.9, np.concatenate([labels, labels[::6]])).pairs
    wanted = {(place * 6, len(images) + place) for place in range(len(copies))}
    joined = {(int(i), int(j)) for i, j in pairs}
    assert joined <= wanted
    assert len(joined) >= 0.5 * len(wanted)


def test_frames_of_one_object_are_joined() -> None:
    """A burst is of one class and a small part of the set, however alike its frames are: it stays together."""
    rng = np.random.default_rng(4)
    objects = random_fields(10, rng)
    frames = np.repeat(objects, 14, axis=0) + rng.normal(0, 1, (140, 32, 32))
    thumbnails = np.clip(np.rint(frames), 0, 255).astype(np.uint8)
    labels = np.repeat(np.arange(10) % 2, 14)
    assert sizes(thumbnails, labels) == [14] * 10
    assert (find_near_duplicates(thumbnails, 0.9, labels).scenes == NO_SCENE).all()


def test_the_threshold_is_felt() -> None:
    """Frames that differ a little are joined at the default, and told apart where only the same counts as the same."""
    rng = np.random.default_rng(5)
    frames = np.repeat(random_fields(8, rng), 6, axis=0) + rng.normal(0, 3, (48, 32, 32))
    thumbnails = np.clip(np.rint(frames), 0, 255).astype(np.uint8)
    labels = np.repeat(np.arange(8) % 2, 6)
    joined = [sum(size for size in sizes(thumbnails, labels, threshold) if size > 1) for threshold in (0.9, 0.99, 1.0)]
    assert joined[0] == 48
    assert joined[0] > joined[1] >= joined[2] == 0
