"""The split that the name of a folder says: ``train``, ``test_set``, ``seg_val``, ``2023-holdout``."""

import re
from collections.abc import Sequence
from itertools import product

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
NOT_LABELLED = "unlabelled"
EITHER = "val or test"  # test, unless another folder is
_VALIDATION = ("vali", "validate", "validating", "dev", "devel", "development", "tuning")
_TEST = ("tests", "tst", "ts", "te", "holdout", "heldout")
_UNLABELLED = (
    "unlabelled", "unlabeled", "nolabel", "nolabels", "unsup", "unsupervised", "pred", "predict", "prediction",
    "predictions", "inference", "infer", "submission",
)  # fmt: skip
ROLES = {
    **SPLIT_FOLDERS,
    **dict.fromkeys(("trn", "tr", "trainval"), "train"),
    **dict.fromkeys(_VALIDATION, "val"),
    **dict.fromkeys(("eval", "evaluation"), EITHER),
    **dict.fromkeys(_TEST, "test"),
    **dict.fromkeys(_UNLABELLED, NOT_LABELLED),
}
SHORT = 2  # letters; such names are taken only where something stands between them and what else is in the name
# What says nothing of the images in a folder.
NEUTRAL = {
    "set", "sets", "data", "dataset", "datasets", "image", "images", "img", "imgs", "pic", "pics", "picture",
    "pictures", "photo", "photos", "jpg", "jpeg", "png", "split", "splits", "folder", "dir", "files", "samples",
    "examples", "new", "final", "my", "our", "all", "the", "raw", "labelled", "labeled", "class", "classes", "v",
}  # fmt: skip


def roles(names: Sequence[str]) -> dict[str, str]:
    """Return the split that each of some folders side by side stands for, or nothing where one of them is no split.

    They are known by their usual names, by these with a beginning or an end that all share, or by these among words
    that say nothing of images, such as ``images`` and numbers.

    Returns:
        ``train``, ``val``, ``test`` or ``NOT_LABELLED``, by name.
    """
    lowered = [_joined(name) for name in names]
    known = _plain(lowered) or _with_what_all_share(lowered) or _among_neutral_words([_joined(n, n) for n in names])
    if not known:
        return {}
    either = NOT_LABELLED if "train" not in known else "val" if "test" in known else "test"
    return {name: either if role == EITHER else role for name, role in zip(names, known, strict=True)}


def is_usual(name: str) -> bool:
    """Return whether a name alone says that a folder is a split."""
    return name.casefold() in SPLIT_FOLDERS


def could_be(name: str) -> bool:
    """Return whether a folder of that name beside folders of classes may have been meant to be a split."""
    return len(name) > SHORT and bool(roles([name]))


def says_nothing(name: str) -> bool:
    """Return whether a name says nothing of the images in the folder: ``images``, ``train``, ``data_2``."""
    return all(word in NEUTRAL or word in ROLES or word.isdigit() for word in _words(name))


def is_unlabelled(name: str) -> bool:
    """Return whether a name says outright that images have no label."""
    words = [word for word in _words(name) if word not in NEUTRAL]
    return words in (["unlabelled"], ["unlabeled"])


def _joined(name: str, spelt: str = "") -> str:
    """Return a name in small letters, or as it is spelt, with 'hold-out' in one word."""
    return re.sub(r"h(o|e)ld[\W_]?out", r"h\1ldout", spelt or name.casefold(), flags=re.IGNORECASE)


def _plain(names: Sequence[str]) -> list[str]:
    return [ROLES[name] for name in names] if all(name in ROLES for name in names) else []


def _with_what_all_share(names: Sequence[str]) -> list[str]:
    """Return the splits of names that differ, between the same beginning and end, in known names."""
    if len(names) < 2:
        return []
    before, after = _shared(names), _shared([name[::-1] for name in names])
    for start, end in sorted(product(range(before + 1), range(after + 1)), key=sum):
        inner = [name[start : len(name) - end] for name in names]
        sides = (names[0][:start][-1:], names[0][len(names[0]) - end :][:1])
        apart = not any(side.isalpha() for side in sides)
        if all(name in ROLES and (apart or len(name) > SHORT) for name in inner):
            return [ROLES[name] for name in inner]
    return []


def _shared(names: Sequence[str]) -> int:
    """Return how many letters all names begin with alike."""
    first, last = min(names), max(names)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))


def _among_neutral_words(names: Sequence[str]) -> list[str]:
    """Return the splits of names of which each has one known word, and others that say nothing."""
    splits = []
    for name in names:
        words = _words(name)
        known = [word for word in words if word in ROLES]
        if len(known) != 1 or not all(word in NEUTRAL or word.isdigit() for word in words if word not in known):
            return []
        splits.append(ROLES[known[0]])
    return splits


def _words(name: str) -> list[str]:
    """Return the words and numbers of a name in small letters; capitals within begin a word."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()
    return re.findall(r"[^\W\d_]+|\d+", parted)
