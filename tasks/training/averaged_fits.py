"""A strategy's whole training: measured rates, one or several fine-tunings, and what is averaged afterwards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tasks.backbones import weights
from tasks.backbones.architecture import State
from tasks.files import digest_of
from tasks.strategies import freezing, planning
from tasks.strategies.surgery import Adapted
from tasks.training.averaging import LossOf, best_mixture, greedy_soup
from tasks.training.checkpoints import Progress
from tasks.training.gradients import validation_loss
from tasks.training.inference import predict
from tasks.training.job import TrainingJob
from tasks.training.loop import Row, fit
from tasks.training.model_state import fill, names_that_change, state_of
from tasks.training.progress import Reporter


@dataclass(frozen=True)
class Trained:
    """A fine-tuned network.

    Attributes:
        adapted: with the weights that are handed over, on the CPU.
        progress: of all fine-tunings, one after the other.
        facts: ``frozen_digest``, of all frozen tensors, the same before and after; and what was chosen on the
            validation split: ``soup_members``, ``wise_ft_share``.
    """

    adapted: Adapted
    progress: Progress
    facts: dict[str, Any]


def fit_and_average(
    make: Callable[[], Adapted],
    job: TrainingJob,
    frozen: Mapping[str, str],
    reporter: Reporter,
    on_epoch: Callable[[Row], None],
) -> Trained:
    """Fine-tune a network as its strategy says, and prove that what was frozen stayed as it was.

    Args:
        make: returns the network before training; called for every fine-tuning.
        job: data, plan and settings.
        frozen: digests of what the plan freezes.
        reporter: shows progress.
        on_epoch: called with the history row of every epoch that was finished here.

    Raises:
        DivergedError: training became non-finite and did not recover.
        RuntimeError: a frozen tensor changed; names it.
    """
    members: list[tuple[Progress, State]] = []
    for place in range(job.settings.soup):
        adapted, epochs_before = make(), sum(progress.epoch for progress, _ in members)
        progress = fit(adapted, _member(job, place), reporter, _shifted(on_epoch, epochs_before))
        freezing.prove_frozen(frozen, freezing.digests(adapted.model, list(frozen)))
        members.append((progress, state_of(adapted.model, names_that_change(adapted.model, job.plan, job.settings))))
    progress, state = members[0]
    best, facts = 0, dict[str, Any](frozen_digest=digest_of(frozen))
    loss_of = _validation_loss(adapted, job)
    if len(members) > 1:
        state, taken, loss = greedy_soup([m for _, m in members], [p.best_loss for p, _ in members], loss_of)
        best, facts["soup_members"] = taken[0], sorted(taken)
        progress = _joined([progress for progress, _ in members], best, loss)
        reporter.say(f"soup of {len(taken)} of {len(members)} fine-tunings, validation loss {loss:.4f}")
    if job.settings.wise_ft:
        state, share, loss = best_mixture(_start(adapted, job, best), state, job.settings.wise_ft, loss_of)
        facts["wise_ft_share"] = share
        progress = replace(progress, best_loss=loss)
        reporter.say(f"{share:.0%} fine-tuned weights, the others from before: validation loss {loss:.4f}")
    fill(adapted.model, state)
    return Trained(adapted, progress, facts)


def fit_as_worker(make: Callable[[], Adapted], job: TrainingJob, reporter: Reporter) -> None:
    """Take part in what another process's ``fit_and_average`` trains; arguments as there."""
    for place in range(job.settings.soup):
        fit(make(), _member(job, place), reporter, lambda _: None)


def _member(job: TrainingJob, place: int) -> TrainingJob:
    """Return one of several fine-tunings: the same start, the images in another order."""
    if place == 0:
        return job
    settings = job.settings.model_copy(update={"seed": job.settings.seed + place})
    checkpoint = job.checkpoint.with_stem(f"{job.checkpoint.stem}-{place + 1}")
    return replace(job, settings=settings, checkpoint=checkpoint, answers=None)


def _shifted(on_epoch: Callable[[Row], None], epochs: int) -> Callable[[Row], None]:
    return lambda row: on_epoch(_later(row, epochs))


def _later(row: Row, epochs: int) -> Row:
    return row | {"epoch": row["epoch"] + epochs}


def _joined(members: list[Progress], best: int, loss: float) -> Progress:
    """Return the progress of fine-tunings one after the other; the kept epoch is that of the best one."""
    starts = [sum(progress.epoch for progress in members[:place]) for place in range(len(members))]
    return replace(
        members[-1],
        epoch=sum(progress.epoch for progress in members),
        best_loss=loss,
        best_epoch=starts[best] + members[best].best_epoch,
        seconds=sum(progress.seconds for progress in members),
        peak_memory_mib=max(progress.peak_memory_mib for progress in members),
        history=[_later(row, start) for start, m in zip(starts, members, strict=True) for row in m.history],
    )


def _start(adapted: Adapted, job: TrainingJob, member: int) -> State:
    """Return the weights from before the last schedule, without those that were still untrained then."""
    untrained = {
        name
        for group in job.plan.groups
        if (thaws := job.plan.thaws_at(group.name)) is not None and thaws >= job.last_schedule
        for name in (*group.parameters, *group.buffers)
        if planning.is_new(name, group, adapted)
    }
    before = weights.load(_member(job, member).before_last_schedule)
    return {name: tensor for name, tensor in before.items() if name not in untrained}


def _validation_loss(adapted: Adapted, job: TrainingJob) -> LossOf:
    def loss_of(state: State) -> float:
        fill(adapted.model, state)
        return validation_loss(predict(adapted, job.val, job.hardware), job.val.targets, job.settings)

    return loss_of
