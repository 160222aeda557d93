"""What went wrong in each strategy of a comparison, and which labels its champion doubts."""

from collections.abc import Mapping, Sequence

import numpy as np

from tasks.arrays import Integers
from tasks.comparison.diagnosis_against import diagnose_against
from tasks.comparison.entrants import Entrant
from tasks.comparison.schema import Finding, SuspectLabel
from tasks.evaluation import label_noise
from tasks.evaluation.curves import Run
from tasks.evaluation.diagnosis import Diagnosis, configuration, diagnose
from tasks.evaluation.predictions import probabilities_of, targets_of
from tasks.params import Params

MOST_SUSPECTS = 30


def findings(
    entrants: Sequence[Entrant], params: Params, classes: Sequence[str], train_counts: Mapping[str, int]
) -> dict[str, list[Finding]]:
    """Return what was found out about every candidate, by its name; healthy ones have nothing.

    Neither have those that lost the race: the beginning of a training is no whole one. Strategies are held against
    others on the same network.

    Args:
        entrants: the strategies.
        params: all of them.
        classes: in the order of the answers.
        train_counts: images a class in the training split.
    """
    counts = np.array([train_counts.get(label, 0) for label in classes], dtype=np.int64)
    found: dict[str, list[Finding]] = {entrant.name: [] for entrant in entrants}
    tested = [entrant for entrant in entrants if entrant.test is not None]
    for network in dict.fromkeys(entrant.network for entrant in tested):
        runs = {
            entrant.name: _run(entrant, params, classes, counts) for entrant in tested if entrant.network == network
        }
        against = diagnose_against(list(runs.values()), params.compare)
        for name, run in runs.items():
            found[name] = _of_run(run, [*diagnose(run), *against[run.name]], params)
    return found


def suspect_labels(entrant: Entrant, classes: Sequence[str]) -> list[SuspectLabel]:
    """Return the validation images whose labels a strategy doubts with confidence, the least likely first."""
    probabilities = probabilities_of(entrant.val, classes)
    suspects = label_noise.suspects(targets_of(entrant.val, classes), probabilities)[:MOST_SUSPECTS]
    return [
        SuspectLabel(
            path=str(entrant.val["path"].iloc[suspect.image]),
            label=classes[suspect.given],
            suggested=classes[suspect.suggested],
            probability=float(probabilities[suspect.image, suspect.suggested]),
        )
        for suspect in suspects
    ]


def _run(entrant: Entrant, params: Params, classes: Sequence[str], counts: Integers) -> Run:
    return Run(
        name=entrant.name.rpartition("/")[2],  # as it stands in params.yaml
        settings=params.strategy(params.candidate(entrant.name)),
        history=entrant.history,
        phases=entrant.run["phases"],
        thaws_at={part["name"]: part["thaws_at"] for part in entrant.run["parts"]},
        train_counts=counts,
        targets=targets_of(entrant.first_val, classes),
        probabilities=probabilities_of(entrant.first_val, classes),
        classes=classes,
    )


def _of_run(run: Run, diagnoses: Sequence[Diagnosis], params: Params) -> list[Finding]:
    return [
        Finding(
            tag=diagnosis.tag,
            evidence=diagnosis.evidence,
            epoch=diagnosis.epoch,
            configuration=configuration(run, diagnosis, params.train) if diagnosis.suggestion else None,
        )
        for diagnosis in diagnoses
    ]
