"""What others do, as their own documentation does it; each is run in a process of its own.

The images lie in ``FOLDER/train``, ``val`` and ``test``, a folder a class; pretrained weights are where torch.hub keeps
them.
"""

import json
import time
from pathlib import Path
from typing import Any

import torch
import typer
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from torch import nn, optim
from torchvision import datasets, models, transforms

app = typer.Typer(add_completion=False)


@app.command()
def fastai(folder: Path, epochs: int = 5, size: int | None = None) -> None:
    """``fine_tune`` of a learner with fastai's defaults: https://docs.fast.ai/tutorial.vision.html."""
    import fastai as package
    from fastai.callback.core import Callback
    from fastai.vision import learner as fastai_learner
    from fastai.vision.all import ImageDataLoaders, Resize, accuracy, get_image_files, imagenet_stats, vision_learner
    from fastai.vision.learner import default_split

    class Clock(Callback):  # type: ignore[misc]
        """Seconds that each epoch trained."""

        def before_train(self) -> None:
            self._started = time.monotonic()

        def after_train(self) -> None:
            seconds.append(time.monotonic() - self._started)

    seconds: list[float] = []
    started = time.monotonic()
    fastai_learner.model_meta[models.mobilenet_v2] = {
        "cut": -1, "split": default_split, "stats": imagenet_stats, "weights": "IMAGENET1K_V1"
    }  # fmt: skip
    loaders = ImageDataLoaders.from_folder(folder, train="train", valid="val", item_tfms=Resize(size) if size else None)
    learner = vision_learner(loaders, models.mobilenet_v2, metrics=accuracy)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs, cbs=Clock())
        files = sorted(get_image_files(folder / "test"))
        answers, _ = learner.get_preds(dl=loaders.test_dl(files))
    truth = [loaders.vocab.o2i[file.parent.name] for file in files]
    images = len(loaders.train_ds)
    _say(
        seconds=time.monotonic() - started,
        accuracy=accuracy_score(truth, answers.argmax(1)),
        balanced_accuracy=balanced_accuracy_score(truth, answers.argmax(1)),
        images_a_second=images / (sum(seconds[1:]) / len(seconds[1:])),
        version=package.__version__,
    )


@app.command()
def tutorial(folder: Path, steps: int = 100) -> None:
    """The loop of https://docs.pytorch.org/tutorials/beginner/transfer_learning_tutorial.html, for some steps."""
    change = transforms.Compose(
        [
            transforms.RandomResizedCrop(224),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    images = datasets.ImageFolder(str(folder / "train"), change)
    loader = torch.utils.data.DataLoader(images, batch_size=4, shuffle=True, num_workers=4)
    model = models.mobilenet_v2(weights="IMAGENET1K_V1")
    model.classifier[1] = nn.Linear(model.last_channel, len(images.classes))
    criterion, optimizer = nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    model.train()
    taken, seen, running = 0, 0, 0.0
    started = time.monotonic()
    while taken < steps:
        for inputs, labels in loader:
            optimizer.zero_grad()
            with torch.set_grad_enabled(True):
                loss = criterion(model(inputs), labels)
                loss.backward()
                optimizer.step()
            running += loss.item() * inputs.size(0)
            taken, seen = taken + 1, seen + len(labels)
            if taken == steps // 4:  # the workers have started
                started, seen = time.monotonic(), 0
            if taken == steps:
                break
    _say(images_a_second=seen / (time.monotonic() - started))


def _say(**figures: Any) -> None:
    print(json.dumps({name: value if isinstance(value, str) else float(value) for name, value in figures.items()}))


if __name__ == "__main__":
    app()
