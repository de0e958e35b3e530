"""Several processes through DVC's own commands and torchrun, on the pocket: the lock stays.

The tests share one project and run in the order of this file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.train.processes import free_port

from .kills import Aim, Unbroken, chain, outputs
from .project import Project, make_project
from .test_reproducible import SMALL, STEPS, adapter

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    shared = {"train.batch_size": 1, "train.gradient_accumulation": 4}
    made = make_project(tmp_path_factory.mktemp("several") / "a project", SMALL | shared)
    made.repro("train")
    made.commit("trained by one process")
    return made


def test_dvc_repro_starts_several_and_the_lock_stays(project: Project):
    lock = project.lock()["train"]
    for processes in (2, 4):
        project.set("runtime.processes", processes)
        assert project.repro("train") == ["resolve"], "a number of processes trains nothing again"
        done = project.run("dvc", "repro", "--force", "--single-item", "train")
        assert (done.stdout + done.stderr).count(f"trained {STEPS} steps") == 1
        assert project.lock()["train"] == lock


def test_a_training_killed_on_one_and_on_four_ends_on_two_in_the_same_bytes(project: Project):
    project.commit("another number of processes")
    project.run("git", "update-index", "--assume-unchanged", "params.yaml")

    def aims() -> Iterator[Aim]:
        for processes, step in ((1, 2), (4, 4)):
            project.set("runtime.processes", processes)
            yield Aim(step=step)
        project.set("runtime.processes", 2)

    kills = chain(project, Unbroken(outputs(project), STEPS, every=1), aims())
    assert len(kills) == 2
    assert all(kill.went_on.startswith("after step ") for kill in kills)


def test_what_torchrun_trained_on_two_machines_is_what_dvc_would_have(project: Project):
    """Two torchruns on two names of this machine, then `dvc commit`."""
    project.set("runtime.processes", 1)  # leaves it to torchrun
    project.repro("train")
    lock, trained = project.lock()["train"], adapter(project)
    (project.root / "out/adapter.safetensors").unlink()
    port = free_port()
    started = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2"),
                *("--nproc-per-node=1", f"--node-rank={node}", f"--master-addr={name}"),
                *(f"--master-port={port}", "-m", "lora_recipes", "stage", "train"),
            ],
            cwd=project.root,
            env={k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_"))},
            stderr=subprocess.PIPE,
            text=True,
        )
        for node, name in enumerate(("127.0.0.1", "localhost"))
    ]
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert adapter(project) == trained
    project.run("dvc", "commit", "-f", "train")
    assert project.lock()["train"] == lock
    assert project.repro("train") == []
