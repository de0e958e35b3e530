"""The real pipeline on the pocket, small: what it promises about bytes, through DVC's own commands.

The tests share one project and run in the order of this file.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lora_recipes.hashing import sha256_file

from .project import Project, make_project
from .test_edits import ALL, ROWS

SMALL = {
    "prepare.resolution": 64,
    "train.repeats": 3,
    "train.epochs": 1,
    "train.warmup_steps": 0,
    "train.snapshots": [0.5],
    "sample.prompts": ["a photo of a {trigger} {class_word} on a red background"],
    "sample.seeds": [0],
    "sample.steps": 2,
    "runtime.checkpoint_every": 1,
    "runtime.log_every": 1,
}
STEPS = 6


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = make_project(tmp_path_factory.mktemp("real") / "a project", SMALL)
    assert made.repro() == ALL
    made.commit("first")
    return made


def adapter(project: Project) -> str:
    return sha256_file(project.root / "out/adapter.safetensors")


def test_a_run_leaves_a_clean_tree_and_a_second_one_runs_nothing(project: Project):
    assert project.repro() == []
    assert project.run("git", "status", "--porcelain").stdout == ""
    steps = (project.root / "out/loss.tsv").read_text().splitlines()
    assert len(steps) == 1 + STEPS
    assert sorted(p.name for p in (project.root / "out/snapshots").iterdir()) == [
        "step-000003.safetensors"
    ]


def test_everything_run_again_by_force_and_cold_equals_the_lock(project: Project):
    before = (project.root / "dvc.lock").read_bytes()
    shutil.rmtree(project.root / ".lora")
    assert project.repro("--force") == ALL
    assert (project.root / "dvc.lock").read_bytes() == before


def test_a_training_killed_twice_goes_on_and_ends_in_the_same_bytes(project: Project):
    project.set("train.learning_rate", 0.0007)
    kill_at_checkpoint(project, 2)
    kill_at_checkpoint(project, 4)
    assert not (project.root / "out/adapter.safetensors").exists()
    resumed = project.run("dvc", "repro", "train")
    assert "going on after step" in resumed.stdout + resumed.stderr
    after_kills, curve = adapter(project), (project.root / "out/loss.tsv").read_bytes()
    lock = project.lock()["train"]
    project.run("dvc", "repro", "--force", "--single-item", "train")
    assert adapter(project) == after_kills
    assert (project.root / "out/loss.tsv").read_bytes() == curve
    assert project.lock()["train"] == lock
    assert list((project.root / ".lora/checkpoints").glob("*/step-*")) == []


def kill_at_checkpoint(project: Project, step: int) -> None:
    """Start `dvc repro train`, and kill -9 the training once a checkpoint of that step exists."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        ["dvc", "repro", "train"],
        cwd=project.root,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        found = list((project.root / ".lora/checkpoints").glob("*/step-*.json"))
        if any(int(path.stem.removeprefix("step-")) >= step for path in found):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return
        time.sleep(0.02)
    raise AssertionError("the training ended before it could be killed")


def test_going_back_to_a_commit_gives_its_adapter_back(project: Project):
    project.run("git", "checkout", "-q", "--", ".")
    project.run("dvc", "checkout", "-q")
    first = adapter(project)
    project.set("train.learning_rate", 0.0009)
    assert project.repro() == ["resolve", "train", "sample", "report"]
    second_commit = project.commit("second")
    assert adapter(project) != first
    project.run("git", "checkout", "-q", "HEAD~1")
    project.run("dvc", "checkout", "-q")
    assert adapter(project) == first
    assert project.repro() == []
    project.run("git", "checkout", "-q", second_commit)
    project.run("dvc", "checkout", "-q")


def test_an_experiment_trains_and_is_shown_beside_the_commit(project: Project):
    project.run("git", "checkout", "-q", "-B", "main")
    project.run("dvc", "exp", "run", "-q", "-n", "small-rank", "-S", "lora.rank=2")
    shown = project.run("dvc", "exp", "show", "--csv").stdout
    assert "small-rank" in shown
    assert project.json("out/train.json")["steps"] == STEPS
    changed = project.run("dvc", "metrics", "diff").stdout
    assert "loss_final" in changed
    assert "index.html" in project.run("dvc", "plots", "show").stdout
    project.run("git", "checkout", "-q", "--", ".")
    project.run("dvc", "checkout", "-q")


@pytest.mark.slow
def test_the_queue_trains_and_its_result_can_be_applied(project: Project):
    project.run("dvc", "exp", "run", "-q", "--queue", "-n", "queued", "-S", "lora.rank=3")
    project.run("dvc", "queue", "start", "-q", "-j", "1")
    deadline = time.monotonic() + 400
    while "Success" not in (status := project.run("dvc", "queue", "status").stdout):
        assert "Failed" not in status, project.run("dvc", "queue", "logs", "queued").stdout
        assert time.monotonic() < deadline, status
        time.sleep(2)
    project.run("dvc", "exp", "apply", "queued")
    queued = adapter(project)
    project.run("git", "checkout", "-q", "--", ".")
    project.run("dvc", "checkout", "-q")
    project.set("lora.rank", 3)
    project.run("dvc", "repro", "--force", "train")
    assert adapter(project) == queued
    project.run("git", "checkout", "-q", "--", ".")
    project.run("dvc", "checkout", "-q")


@pytest.mark.slow
@pytest.mark.parametrize("edit", [row[0] for row in ROWS], ids=[row[0].__name__ for row in ROWS])
def test_after_every_edit_a_forced_training_equals_the_lock(project: Project, edit):
    edit(project)
    try:
        project.repro("train")
        lock, trained = project.lock()["train"], adapter(project)
        shutil.rmtree(project.root / ".lora", ignore_errors=True)
        project.run("dvc", "repro", "--force", "train")
        assert project.lock()["train"] == lock
        assert adapter(project) == trained
    finally:
        project.run("git", "checkout", "-q", "--", ".")
        project.run("dvc", "checkout", "-q")
