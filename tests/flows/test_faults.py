"""What breaks around a run: each ends in a correct result or in one clear sentence, and the next run completes.

A full disk is in test_full_disk.py, a tracking server that goes down in test_outage.py, a worker that is killed in
test_workers.py; two runs at once, and Ctrl-C, are in test_exclusive.py.
"""

import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.faults import COMPARE, untrained
from tests.support.results import is_up_to_date, one_sentence, statuses
from tests.support.running import Running

pytestmark = pytest.mark.system

EPOCHS = 100  # of a training that takes long enough to be disturbed
# The operating system refuses files over some size while the network trains, as it would on a full disk.
FULL_DISK = """
import resource, sys
from tasks import __main__
from tasks.steps import finetune

train, largest = finetune.train, int(sys.argv.pop())

def on_a_full_disk(attempt):
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    try:
        train(attempt)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

finetune.train = on_a_full_disk
__main__.main()
"""
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (clock == CLOCK_REALTIME && access(getenv("CLOCK_BACK"), F_OK) == 0) now->tv_sec -= 24 * 60 * 60;
    return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    int failed = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec, now->tv_usec = precise.tv_nsec / 1000;
    return failed;
}
time_t time(time_t *seconds) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (seconds) *seconds = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler, for another clock")
def test_a_clock_that_goes_back(tmp_path: Path) -> None:
    """A day, in the middle of a training: the same weights as without."""
    project = untrained(tmp_path / "clone", EPOCHS)
    weights = project.root / "data/runs/scratch/model.safetensors"
    library, back = tmp_path / "clock.so", tmp_path / "back"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library), "-ldl"], input=CLOCK, text=True, check=True
    )
    running = Running(project, *COMPARE, name="compare", LD_PRELOAD=str(library), CLOCK_BACK=str(back))
    try:
        running.wait_for("epoch 1/")
        back.touch()
        assert running.ends() == 0, running.printed
    finally:
        running.kill()
    assert statuses(project) == ["FINISHED", "FINISHED"]
    assert is_up_to_date(project)
    disturbed = sha256(weights.read_bytes()).hexdigest()
    weights.unlink()
    project.steps("finetune@scratch")
    assert sha256(weights.read_bytes()).hexdigest() == disturbed


def test_full_disk_while_training(tmp_path: Path) -> None:
    """Whether MLflow's store or a checkpoint hits it: one sentence, nothing half-written; the next try succeeds."""
    project = untrained(tmp_path / "clone")
    project.steps("race")
    before = project.files()
    for largest, sentence in ((1 << 16, "disk space"), (1 << 22, "no space left")):
        limited = project.run(sys.executable, "-c", FULL_DISK, "finetune", "--strategy", "scratch", str(largest))
        assert sentence in one_sentence(limited)
        assert not any("checkpoint" in file or "runs/" in file for file in project.files() - before)
    project.steps("finetune@scratch")
