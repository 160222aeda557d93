"""One run at a time on one working copy: who comes second waits or is refused, and a run that is stopped goes on."""

import sys

import pytest

from tests.support.cells import write_cells
from tests.support.project import Project, make_project
from tests.support.results import must, statuses
from tests.support.running import Running

pytestmark = pytest.mark.system

EPOCHS = 150  # of a training that takes long enough to be stopped
COMPARE = (sys.executable, "-m", "flows.compare")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with one strategy."""
    folder = tmp_path_factory.mktemp("exclusive")
    project = make_project(folder / "clone", write_cells(folder / "photos", 12), {"patience": EPOCHS})
    _set_epochs(project, 1)
    return project


@pytest.fixture(scope="module")
def second(project: Project) -> str:
    """What a flow printed that was started while ``dvc repro`` made everything, stage by stage."""
    dvc = Running(project, "dvc", "repro", name="dvc")
    dvc.wait_for("Running stage 'prepare'")
    flow = Running(project, *COMPARE, name="second")
    flow.wait_for("waits for")
    assert dvc.process.poll() is None, "DVC was done before the flow came"
    assert dvc.ends() == 0, dvc.printed
    assert flow.ends() == 0, flow.printed
    return flow.printed


def test_a_flow_waits_for_dvc_and_finds_everything_done(second: str) -> None:
    """It says for whom it waits, holds up no stage of it, and has nothing left to do."""
    assert "waits for DVC" in second or "waits for 'python -m tasks" in second
    assert "everything was up to date" in second


@pytest.fixture(scope="module")
def stopped(project: Project, second: str) -> Running:
    """A flow in whose training somebody pressed Ctrl-C, after ``dvc repro`` was tried beside it."""
    _set_epochs(project, EPOCHS)
    flow = Running(project, *COMPARE, name="stopped")
    flow.wait_for("epoch 1/")
    refused = project.run("dvc", "repro")
    assert refused.returncode != 0
    assert str(flow.process.pid) in refused.stderr, refused.stderr
    assert project.run("dvc", "status").returncode == 0
    assert flow.process.poll() is None, "the flow was done before Ctrl-C"
    flow.press_ctrl_c()
    return flow


def test_ctrl_c_stops_a_training_and_leaves_all_in_order(project: Project, stopped: Running) -> None:
    """The command ends within 10 seconds with one sentence, its run is KILLED, and nothing is held."""
    assert stopped.ends(10) == 130, stopped.printed
    assert "thawline: stopped; the same command goes on" in stopped.printed
    assert "Traceback" not in stopped.printed
    assert statuses(project) == ["FINISHED", "FINISHED", "KILLED"]
    assert project.run("dvc", "status").returncode == 0


def test_what_was_stopped_goes_on(project: Project, stopped: Running) -> None:
    """By the other door, too: not from its beginning."""
    assert "goes on after epoch" in must(project.run("dvc", "repro"))
    assert "RUNNING" not in statuses(project)


def _set_epochs(project: Project, epochs: int) -> None:
    params = project.params()
    params["strategies"] = {"scratch": params["strategies"].pop("scratch") | {"epochs": epochs}}
    project.write_params(params)
