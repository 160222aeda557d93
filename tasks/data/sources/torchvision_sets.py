"""The classification data sets of torchvision, fetched and written as a folder a class."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

from tasks.errors import UnavailableError, UserError, nearest, one_line
from tasks.progress import counting, during

# Of each data set, the folders that it becomes, and what its constructor is told for each.
_TRAIN_TEST: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
_WHOLE: dict[str, dict[str, Any]] = {"": {}}


def _named(*names: str, **renamed: str) -> dict[str, dict[str, Any]]:
    return {folder: {"split": split} for folder, split in ({name: name for name in names} | renamed).items()}


SETS: dict[str, dict[str, dict[str, Any]]] = {
    "CIFAR10": _TRAIN_TEST,
    "CIFAR100": _TRAIN_TEST,
    "Caltech101": _WHOLE,
    "Caltech256": _WHOLE,
    "Country211": _named("train", "valid", "test"),
    "DTD": _named("train", "val", "test"),
    "EuroSAT": _WHOLE,
    "FGVCAircraft": _named("train", "val", "test"),
    "FashionMNIST": _TRAIN_TEST,
    "Flowers102": _named("train", "val", "test"),
    "Food101": _named("train", "test"),
    "GTSRB": _named("train", "test"),
    "Imagenette": _named("train", "val"),
    "KMNIST": _TRAIN_TEST,
    "MNIST": _TRAIN_TEST,
    "OxfordIIITPet": _named("test", train="trainval"),
    "PCAM": _named("train", "val", "test"),
    "QMNIST": _TRAIN_TEST,
    "RenderedSST2": _named("train", "val", "test"),
    "SEMEION": _WHOLE,
    "STL10": _named("train", "test"),
    "SUN397": _WHOLE,
    "SVHN": _named("train", "test"),
    "USPS": _TRAIN_TEST,
}
PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}


def fetch(name: str, target: Path, downloads: Path) -> None:
    """Write a data set of torchvision to ``target`` as PNG files.

    Args:
        name: its class in ``torchvision.datasets``.
        target: a folder that is there; where the data set has a train and a test part, they become folders in it.
        downloads: where torchvision keeps what it fetched; what lies there is not fetched again.

    Raises:
        UserError: there is no such data set, or it needs a package that is not installed.
        UnavailableError: it could not be fetched.
    """
    must_be_known(name)
    from torchvision import datasets

    downloads.mkdir(parents=True, exist_ok=True)
    for folder, options in SETS[name].items():
        samples = _samples(_data_set(getattr(datasets, name), name, downloads, options))
        with counting(f"writing images of {' '.join([name, folder]).rstrip()}", None) as advance:
            for number, (image, label) in enumerate(samples):
                place = target / folder / label
                place.mkdir(parents=True, exist_ok=True)
                picture = image if image.mode in PNG_MODES else image.convert("RGB")
                picture.save(place / f"{number:06d}.png")
                advance(1)


def must_be_known(name: str) -> None:
    """Check a data set's name.

    Raises:
        UserError: there is none of that name that fits.
    """
    if name not in SETS:
        raise UserError(
            f"data.dataset: torchvision has no data set of labelled images named '{name}'{nearest(name, SETS)}"
        )


def _data_set(kind: Any, name: str, downloads: Path, options: dict[str, Any]) -> Any:
    try:
        with during(f"fetching {name}"):
            return kind(str(downloads), download=True, **options)
    except ImportError as error:
        raise UserError(f"torchvision's data set {name} needs a package that is not installed: {error}") from error
    except (URLError, ConnectionError, TimeoutError, RuntimeError) as error:
        raise UnavailableError(
            f"torchvision could not fetch {name} ({one_line(error)}): check the network connection and "
            f"run the same command again, or put its files where torchvision looks for them, below {downloads}"
        ) from error


def _samples(data_set: Any) -> Iterator[tuple[Any, str]]:
    names = _class_names(data_set)
    for image, target in data_set:
        yield image, names.get(int(target), str(int(target)))


def _class_names(data_set: Any) -> dict[int, str]:
    """Return the name of each class as that of a folder; a data set without names has numbers."""
    names = getattr(data_set, "classes", None) or getattr(data_set, "categories", None) or []
    plain = [name if isinstance(name, str) else name[0] for name in names]
    folders = [name.replace("/", "-").replace("\\", "-").strip().lstrip(".") for name in plain]
    return {number: f"{name} {number}" if folders.count(name) > 1 else name for number, name in enumerate(folders)}
