"""Which form of its model a run gets."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from tasks import layout
from tasks.evaluation.classifier import ImageClassifier
from tasks.files import read_json, write_json
from tasks.params import load_params
from tasks.runs.model_logging import track_model, track_program
from tasks.runs.networks import with_weights
from tasks.runs.prepared import PreparedData
from tests.support.golden import light

FILES, PROGRAM = "tasks.tracking.log_model", "tasks.tracking.log_program"


@pytest.mark.parametrize(("own_code", "logged"), [("", FILES), ("0" * 64, PROGRAM)])
def test_a_network_of_the_users_own_is_exported_at_once(own_code: str, logged: str, tmp_path: Path) -> None:
    """Nobody else has the code or the file that builds it; any other is files, which takes no seconds."""
    with light().copy(tmp_path / "clone").entered(), mock.patch(FILES) as files, mock.patch(PROGRAM) as program:
        data = PreparedData.read()
        data = replace(data, record=replace(data.record, code_sha256=own_code))
        settings, run = load_params().strategy("head_only"), read_json(layout.run_file("head_only", "run.json"))
        output = partial(layout.run_file, "head_only")
        model = ImageClassifier(with_weights(settings, data, output("model.safetensors")), data.size).eval()
        write_json(tmp_path / "plan.json", {})
        scores = {"confusion": [[1, 0], [0, 1]], "per_class": {}}
        with mock.patch("tasks.comparison.figures.training_run.write_figures", return_value=[]):
            track_model(run["mlflow_run_id"], output, data, settings, model, scores, {}, {}, [], tmp_path)
    assert {FILES: files.called, PROGRAM: program.called} == {FILES: logged == FILES, PROGRAM: logged == PROGRAM}


def test_a_program_is_exported_once() -> None:
    """A run that has one already, as that of a champion which wins again, gets no other."""
    with mock.patch("tasks.tracking.has_program", return_value=True), mock.patch(PROGRAM) as program:
        track_program("a run", mock.Mock(), mock.Mock())
    assert not program.called
