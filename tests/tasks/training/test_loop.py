"""Fine-tuning learns, and keeps its best epoch."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file
from torch import Tensor

from tasks.strategies import freezing
from tasks.training import gradients, state
from tasks.training.batches import Split
from tasks.training.inference import predict
from tasks.training.loop import DivergedError
from tasks.training.optim import set_rates
from tests.tasks.training.conftest import ALWAYS, CPU, STEPS, Job, MakeJob, Splits, moved, same


def validation_loss(made: Job, val: Split) -> float:
    """Return the loss of the network as it is."""
    return F.cross_entropy(predict(made.adapted, val, CPU), val.targets).item()


def test_training_learns(job: MakeJob) -> None:
    """The training loss falls on real images, and every epoch has its row."""
    made = job("mobilenet_v3_small", train="all", lr=0.003, epochs=8, batchnorm="train", patience=8)
    rows: list[dict[str, float]] = []
    progress = made.fit(rows.append)
    losses = [row["train_loss"] for row in progress.history]
    assert np.mean(losses[-3:]) < 0.75 * losses[0]
    assert [row["epoch"] for row in progress.history] == list(range(8))
    assert rows == progress.history
    assert progress.epoch == 8
    assert progress.seconds > 0
    assert progress.peak_memory_mib > 0
    for row in rows:
        assert 0 <= row["val_accuracy"] <= 1
        assert row["learning_rate"] == 0.003


def test_dropout_is_on_in_every_step_of_the_head(job: MakeJob) -> None:
    """The loss of the very first epoch on stored features already shows it."""
    losses = []
    for dropout in (0.0, 0.9):
        head = {"kind": "linear", "dropout": dropout}
        losses.append(job(place=f"{dropout}", train="head", head=head, lr=1e-6, epochs=2).fit().history)
    for plain, dropped in zip(*losses, strict=True):
        assert plain["train_loss"] != dropped["train_loss"]
        assert plain["val_loss"] == pytest.approx(dropped["val_loss"], rel=1e-3)


def test_a_skipped_step_does_not_move_the_schedule_on(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step after one that was skipped has the rate that the skipped one would have had."""
    rates: dict[str, list[float]] = {}
    for place, broken in (("whole", range(0)), ("skipping", range(2, 3))):
        taken: list[float] = []

        def spy(optimizer: Any, *args: Any, taken: list[float] = taken, plain: Any = set_rates, **kwargs: Any) -> None:
            plain(optimizer, *args, **kwargs)
            taken.append(max(group["lr"] for group in optimizer.param_groups))

        with monkeypatch.context() as patch:
            patch.setattr(state, "set_rates", spy)
            patch.setattr(gradients.F, "cross_entropy", BrokenLoss(broken, math.nan))
            job(place=place, train="all", epochs=1, lr=0.01).fit()
        rates[place] = taken
    assert len(rates["whole"]) == len(rates["skipping"]) == STEPS
    assert rates["skipping"] == [*rates["whole"][:3], *rates["whole"][2:-1]]


def test_the_moving_average_is_what_is_validated_and_kept(job: MakeJob, splits: Splits) -> None:
    """With ``ema`` the network ends with averaged weights, whose validation loss is the one reported."""
    settings = {"train": "all", "lr": 0.01, "epochs": 3, "batchnorm": "train"}
    plain, averaged = job(place="plain", **settings), job(place="averaged", ema=0.95, **settings)
    start = plain.state()
    histories = [made.fit().history for made in (plain, averaged)]
    assert [row["train_loss"] for row in histories[0]] == [row["train_loss"] for row in histories[1]]
    assert [row["val_loss"] for row in histories[0]] != [row["val_loss"] for row in histories[1]]
    best = min(row["val_loss"] for row in histories[1])
    assert validation_loss(averaged, splits.val) == pytest.approx(best, rel=1e-4)

    def moved_by(made: Job) -> float:
        return sum(float((made.state()[name] - start[name]).square().sum()) for name in start if "weight" in name)

    assert moved_by(averaged) < moved_by(plain)


def test_an_extra_input_channel_learns(job: MakeJob) -> None:
    """A channel whose kernels start at zero trains even where a strategy selects only the head."""
    images = np.random.default_rng(0).integers(0, 255, (32, 32, 32, 4), dtype=np.uint8)
    split = Split(images, np.arange(32), torch.arange(32) % 2)
    made = job(images=split, val=split, channels=4, train="head", lr=0.01, epochs=2)
    stem = made.adapted.model.state_dict()["conv1.0.weight"]
    assert stem.shape[1] == 4
    assert not stem[:, 3].any()
    before = made.state()
    made.fit()
    assert made.state()["conv1.0.weight"][:, 3].abs().sum() > 0
    assert {name.split(".")[0] for name in moved(before, made.state())} == {"conv1", "fc"}
    frozen = job(place="frozen", images=split, val=split, channels=4, train="head", stem={"frozen": True}, epochs=1)
    frozen.fit()
    assert not frozen.state()["conv1.0.weight"][:, 3].any()


def test_the_seed_decides_everything(job: MakeJob) -> None:
    """The same seed gives the same weights and history, to the bit; another seed gives others."""
    runs = []
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        made = job("mobilenet_v3_small", place=place, train="all", epochs=1, batchnorm="train", seed=seed)
        runs.append((made.fit().history, made.state()))
    (history, state), (same_history, same_state), (other_history, other_state) = runs
    assert same_history == history
    assert same(same_state, state)
    assert other_history != history
    assert not same(other_state, state)


@pytest.mark.parametrize("batchnorm", ["frozen", "train"])
def test_what_the_plan_freezes_does_not_move(job: MakeJob, batchnorm: str) -> None:
    """Weight decay, momentum and BatchNorm leave frozen tensors alone; what trains does move."""
    made = job(
        "mobilenet_v3_small",
        phases=[{"train": ["stages[2]", "head"]}, {"train": ["stages[3:]", "head"]}],
        epochs=1,
        lr=0.01,
        optimizer="sgd",
        weight_decay=0.1,
        batchnorm=batchnorm,
    )
    plan = made.training_job.plan
    names = plan.never_moved(update_statistics=batchnorm == "train")
    before, states = freezing.digests(made.adapted.model, names), [made.state()]
    made.fit(lambda _: states.append(made.state()))
    freezing.prove_frozen(before, freezing.digests(made.adapted.model, names))
    assert any(name.endswith("running_var") for name in names)
    for epoch, (earlier, later) in enumerate(pairwise(states)):
        changed = moved(earlier, later)
        for group in plan.groups:
            weights = {name for name in group.parameters if earlier[name].dim() > 1}
            if group.name in plan.rates(epoch):
                assert changed >= weights
                statistics = any(name.endswith("running_mean") for name in group.buffers)
                assert bool(changed & set(group.buffers)) == (statistics and batchnorm == "train")
            else:
                assert changed.isdisjoint({*group.parameters, *group.buffers})


def test_the_best_epoch_is_kept(job: MakeJob, relabelled: Split) -> None:
    """The network ends with the weights of its lowest validation loss, not with the last ones."""
    made = job(val=relabelled, train="all", lr=0.003, epochs=8, patience=8, batchnorm="train")
    progress = made.fit()
    losses = [row["val_loss"] for row in progress.history]
    assert progress.best_epoch == int(np.argmin(losses))
    assert progress.best_loss == min(losses)
    assert losses[-1] > 1.1 * min(losses), "the last epoch is not the best one here"
    assert validation_loss(made, relabelled) == pytest.approx(min(losses), rel=1e-5)


def test_training_stops_when_nothing_gets_better(job: MakeJob, relabelled: Split) -> None:
    """After ``patience`` epochs without a better validation loss it ends; with more patience it goes on."""
    settings = {"val": relabelled, "train": "all", "lr": 0.003, "epochs": 8, "batchnorm": "train"}
    impatient = job(place="impatient", patience=2, **settings).fit()
    assert impatient.epoch < 8
    assert impatient.epoch == impatient.best_epoch + 1 + 2
    patient = job(place="patient", patience=8, **settings).fit()
    assert patient.epoch == 8
    assert patient.history[: impatient.epoch] == impatient.history


def test_earlier_phases_are_not_cut_short(job: MakeJob, relabelled: Split) -> None:
    """Only the last phase stops early or is kept: what an earlier one did to the loss is no reason to skip it."""
    phases = [{"train": "all", "epochs": 7}, {"train": "all", "epochs": 6}]
    progress = job(val=relabelled, phases=phases, lr=0.01, patience=2, batchnorm="train").fit()
    losses = [row["val_loss"] for row in progress.history]
    lowest = min(range(7), key=losses.__getitem__)
    assert lowest + 1 + 2 < 7, "the loss rises from early on"
    assert losses[lowest] < min(losses[7:]), "an earlier phase was better"
    assert progress.epoch == progress.best_epoch + 1 + 2
    assert progress.best_epoch == min(range(7, progress.epoch), key=losses.__getitem__)


@pytest.mark.parametrize("batchnorm", ["frozen", "train"])
@pytest.mark.parametrize("lr", [10.0, 100.0])
def test_a_training_that_explodes_is_an_error(job: MakeJob, lr: float, batchnorm: str) -> None:
    """At an absurd rate training ends with an error that names the epoch, and leaves no ruined weights behind."""
    settings = {"optimizer": "adamw" if batchnorm == "frozen" else "sgd", "lr": lr, "epochs": 3, "warmup": 0}
    made = job(train="all", batchnorm=batchnorm, **settings)
    with pytest.raises(DivergedError, match=r"non-finite.*epoch [123]"):
        made.fit()
    assert finite_checkpoint(made)


def finite_checkpoint(made: Job) -> bool:
    """Return whether there is no checkpoint, or one of finite tensors only."""
    file = made.training_job.checkpoint
    return not file.exists() or all(t.isfinite().all() for t in load_file(file).values() if t.is_floating_point())


class BrokenLoss:
    """Makes the training loss non-finite in chosen steps; counts the steps."""

    def __init__(self, broken: range, value: float) -> None:
        self.plain, self.broken, self.value, self.step = F.cross_entropy, broken, value, -1

    def __call__(self, logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
        """Return the loss, or a non-finite one."""
        loss = self.plain(logits, targets, **options)
        if not logits.requires_grad:
            return loss
        self.step += 1
        return loss * self.value if self.step in self.broken else loss


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_single_bad_step_is_skipped(job: MakeJob, monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """One non-finite loss moves nothing and spoils neither the weights nor the reported loss."""
    broken = BrokenLoss(range(2, 3), value)
    monkeypatch.setattr(gradients.F, "cross_entropy", broken)
    made = job(train="all", epochs=1)
    before = made.state()
    progress = made.fit()
    assert broken.step > 2
    assert moved(before, made.state())
    assert all(tensor.isfinite().all() for tensor in made.state().values())
    assert math.isfinite(progress.history[0]["train_loss"])


def test_non_finite_losses_end_the_training(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that stays non-finite is an error; the last checkpoint is finite."""
    monkeypatch.setattr(gradients.F, "cross_entropy", BrokenLoss(range(6, 1000), math.nan))
    made = job(train="all", epochs=3, checkpoint_seconds=ALWAYS)
    with pytest.raises(DivergedError, match="epoch 2"):
        made.fit()
    assert made.training_job.checkpoint.is_file()
    assert finite_checkpoint(made)


@pytest.mark.parametrize("head", [{"kind": "linear"}, {"kind": "on_top", "hidden": 16}])
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1"])
def test_training_the_head_alone(job: MakeJob, splits: Splits, name: str, head: dict[str, Any]) -> None:
    """The reported validation loss is that of the whole network on the images; nothing but the head has moved."""
    made = job(name, train="head", head=head, lr=0.01, epochs=4)
    before = made.state()
    progress = made.fit()
    assert validation_loss(made, splits.val) == pytest.approx(progress.best_loss, rel=1e-4)
    changed = moved(before, made.state())
    assert changed
    assert all(name.startswith(f"{made.adapted.head}.") for name in changed)


def one_step(job: MakeJob, images: Split, place: str, **settings: Any) -> tuple[float, Tensor]:
    """Return the training loss of the head's first and only step, and the logits that it was taken from."""
    made = job(place=place, images=images, train="head", batch_size=200, epochs=1, **settings)
    for parameter in made.adapted.model.get_submodule(made.adapted.head).parameters():
        parameter.data *= 30
    logits = predict(made.adapted, images, CPU)
    return made.fit().history[0]["train_loss"], logits


def test_the_loss_of_a_step(job: MakeJob, unbalanced: Split) -> None:
    """Plain cross-entropy; with smoothing a share of the target goes to all classes; with weights both count alike."""
    targets = unbalanced.targets
    counts = torch.bincount(targets).float()
    assert counts[0] == 4 * counts[1]

    def expected(logits: Tensor, weights: Tensor, smoothing: float) -> float:
        logs = logits.log_softmax(1)
        of_target = -logs[torch.arange(len(targets)), targets] * weights[targets]
        spread = -(logs * weights).mean(1)
        return float(((1 - smoothing) * of_target + smoothing * spread).sum() / weights[targets].sum())

    settings: list[dict[str, Any]] = [{}, {"label_smoothing": 0.3}, {"class_weights": True}]
    settings.append({"label_smoothing": 0.3, "class_weights": True})
    losses = []
    for i, chosen in enumerate(settings):
        loss, logits = one_step(job, unbalanced, f"place-{i}", **chosen)
        weights = len(targets) / (2 * counts) if chosen.get("class_weights") else torch.ones(2)
        assert loss == pytest.approx(expected(logits, weights, chosen.get("label_smoothing", 0.0)), rel=1e-4)
        losses.append(loss)
    assert len({round(loss, 5) for loss in losses}) == len(losses), "each setting changes the loss"


def test_gradients_are_clipped(job: MakeJob) -> None:
    """With ``clip_norm`` a step of plain SGD is at most the rate times the norm long; without it is longer."""
    lengths = []
    for clip in (0.0, 1e-3):
        made = job(
            place=f"clip-{clip}", train="all", optimizer="sgd", lr=0.1, momentum=0.0, weight_decay=0.0, warmup=0.0,
            batch_size=200, epochs=1, clip_norm=clip,
        )  # fmt: skip
        before = made.state()
        made.fit()
        after = made.state()
        lengths.append(math.sqrt(sum(float((after[name] - before[name]).square().sum()) for name in before)))
    assert lengths[0] > 2 * 0.1 * 1e-3
    assert lengths[1] == pytest.approx(0.1 * 1e-3, rel=0.01)
