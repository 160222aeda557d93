"""A strategy's whole training: soups, mixtures, and the proof that frozen tensors stayed as they were."""

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from tasks.strategies import freezing
from tasks.strategies.surgery import Adapted
from tasks.training.averaged_fits import Trained, fit_and_average
from tasks.training.progress import Reporter
from tests.tasks.networks import network
from tests.tasks.training.conftest import Job, MakeJob

QUIET = Reporter("test", Console(quiet=True))
LP_FT: dict[str, Any] = {
    "phases": [{"train": "head", "epochs": 3, "lr": 0.01}, {"train": "all", "epochs": 2, "lr": 0.003}]
}


def run(made: Job, rows: list[dict[str, float]] | None = None) -> Trained:
    """Run a strategy's whole training."""
    training_job = made.training_job

    def make() -> Adapted:
        return network("mobilenet_v3_small", training_job.settings)[0]

    names = training_job.plan.never_moved(update_statistics=training_job.settings.updates_statistics)
    frozen = freezing.digests(make().model, names)
    return fit_and_average(make, training_job, frozen, QUIET, (rows if rows is not None else []).append)


def test_a_soup(job: MakeJob) -> None:
    """Several fine-tunings follow each other in the history; the average is no worse than the best of them."""
    rows: list[dict[str, float]] = []
    settings = {"train": ["stages[3:]", "head"], "lr": 0.003, "epochs": 2}
    trained = run(job("mobilenet_v3_small", soup=3, **settings), rows)
    assert [row["epoch"] for row in rows] == list(range(6))
    assert trained.progress.history == rows
    assert trained.progress.epoch == 6
    assert trained.progress.best_loss <= min(row["val_loss"] for row in rows)
    assert rows[trained.progress.best_epoch]["val_loss"] == min(row["val_loss"] for row in rows)
    losses = {tuple(row["train_loss"] for row in rows[start : start + 2]) for start in (0, 2, 4)}
    assert len(losses) == 3, "each sees the images in its own order"
    assert set(trained.facts["soup_members"]) <= {0, 1, 2}
    plain = run(job("mobilenet_v3_small", place="alone", **settings))
    assert plain.progress.history == rows[:2]


def test_mixing_in_the_weights_from_before(job: MakeJob) -> None:
    """Every weight lies on the line from where the last phase found it to where it left it."""
    after = run(job("mobilenet_v3_small", place="plain", **LP_FT)).adapted.model.state_dict()
    head = run(job("mobilenet_v3_small", place="head", phases=LP_FT["phases"][:1], patience=9)).adapted
    made = job("mobilenet_v3_small", place="mixed", wise_ft=0.25, **LP_FT)
    mixed = run(made)
    assert mixed.facts["wise_ft_share"] == 0.25
    start = network("mobilenet_v3_small", made.training_job.settings)[0].model.state_dict()
    state = mixed.adapted.model.state_dict()
    for name in ("features.4.block.0.0.weight", "classifier.0.weight"):
        torch.testing.assert_close(state[name], torch.lerp(start[name], after[name], 0.25))
    name = f"{head.head}.weight"
    assert not torch.equal(state[name], torch.lerp(start[name], after[name], 0.25)), "the head starts from the probe"
    best = run(job("mobilenet_v3_small", place="best", wise_ft=[0.25, 0.5, 0.75], **LP_FT))
    assert best.progress.best_loss <= mixed.progress.best_loss


def test_an_untrained_head_is_not_mixed_in(job: MakeJob) -> None:
    """In one phase the head has no weights from before that mean anything."""
    settings = {"train": "all", "epochs": 2, "lr": 0.003}
    after = run(job("mobilenet_v3_small", place="plain", **settings)).adapted
    mixed = run(job("mobilenet_v3_small", place="mixed", wise_ft=0.5, **settings)).adapted
    name = f"{after.head}.weight"
    assert torch.equal(mixed.model.state_dict()[name], after.model.state_dict()[name])
    assert not torch.equal(
        mixed.model.state_dict()["features.0.0.weight"], after.model.state_dict()["features.0.0.weight"]
    )


def test_an_interrupted_soup_goes_on(job: MakeJob, tmp_path: Path) -> None:
    """Members that were finished are not trained again, and the result is the same."""
    settings = {"train": ["stages[3:]", "head"], "lr": 0.003, "epochs": 2, "soup": 2, "wise_ft": 0.5}
    whole = run(job("mobilenet_v3_small", place="whole", **settings))
    made = job("mobilenet_v3_small", place="stopped", **settings)
    seen: list[dict[str, float]] = []

    def stop(row: dict[str, float]) -> None:
        seen.append(row)
        if len(seen) == 3:
            raise KeyboardInterrupt

    rows: list[dict[str, float]] = []
    with pytest.raises(KeyboardInterrupt):
        fit_and_average(
            lambda: network("mobilenet_v3_small", made.training_job.settings)[0], made.training_job, {}, QUIET, stop
        )
    again = run(made, rows)
    assert rows[0]["epoch"] >= 2, "the first member is not trained again"
    assert again.facts == whole.facts
    state = whole.adapted.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.adapted.model.state_dict().items())


def test_a_frozen_tensor_that_moved_fails_the_run(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends with an error that names the tensor, whatever moved it."""
    made = job("mobilenet_v3_small", train="head", epochs=1)
    plain = freezing.apply

    def careless(plan: Any, model: torch.nn.Module, epoch: int, *, update_statistics: bool) -> None:
        plain(plan, model, epoch, update_statistics=update_statistics)
        with torch.no_grad():
            model.get_parameter("features.2.block.0.0.weight")[0, 0] += 1e-6

    monkeypatch.setattr(freezing, "apply", careless)
    with pytest.raises(RuntimeError, match=r"features\.2\.block\.0\.0\.weight"):
        run(made)
