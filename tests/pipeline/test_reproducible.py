"""The real pipeline on the pocket, small: what it promises about bytes, through DVC's own commands.

The tests share one project and run in the order of this file.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lora_recipes.hashing import sha256_file

from .kills import Aim, Unbroken, chain, outputs, remove_broken_lock
from .project import RAN, REPOSITORY, Project, make_project
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
        "losses.json",
        "step-000003.safetensors",
    ]


def test_everything_run_again_by_force_with_warm_caches_equals_the_lock(project: Project):
    before = (project.root / "dvc.lock").read_bytes()
    assert list((project.root / ".lora/encoded").rglob("*.safetensors"))
    assert project.repro("--force") == ALL
    assert (project.root / "dvc.lock").read_bytes() == before


def test_a_clone_elsewhere_by_somebody_else_gives_every_byte_again(
    project: Project, tmp_path: Path
):
    """Another folder, umask, locale, time zone, hash seed, user, host and home; no cache at all.

    Nothing of either machine stands in what is committed or published.
    """
    clone = Project(tmp_path / "zweite Kopie – äöü 日本")
    project.run("git", "clone", "-q", ".", str(clone.root))
    (tmp_path / "home").mkdir()
    elsewhere = {
        "LC_ALL": "POSIX",
        "LANG": "tr_TR.UTF-8",
        "TZ": "Pacific/Kiritimati",
        "PYTHONHASHSEED": "20241124",
        "HOME": str(tmp_path / "home"),
        "USER": "somebody-else",
        "LOGNAME": "somebody-else",
        "HOSTNAME": "another-host",
        "HF_TOKEN": "hf_aTokenOfTheUser",
        "AWS_SECRET_ACCESS_KEY": "a/secret+of/theUser",
    }
    for name, value in elsewhere.items():
        assert project.environment().get(name) != value
    assert project.run("sh", "-c", "umask").stdout.strip() != "0077"
    done = clone.run("sh", "-c", "umask 077; exec dvc repro --force", **elsewhere)
    assert RAN.findall(done.stdout) == ALL
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert files(clone) == files(project)
    facts = {*elsewhere.values(), str(tmp_path), str(project.root), str(REPOSITORY), sys.prefix}
    facts |= {str(Path.home()), socket.gethostname()}
    secrets = [fact for fact in facts if len(fact) > len("POSIX")]  # a shorter one may be a word
    assert leaks(clone, secrets) == []
    assert leaks(clone, ["pocket-demo"]), "what does stand there is found"


def leaks(project: Project, secrets: list[str]) -> list[tuple[str, str]]:
    """Which of these texts stands in which file that the stages wrote."""
    contents = {name: (project.root / name).read_bytes() for name in files(project)}
    return [
        (name, text) for name in contents for text in secrets if text.encode() in contents[name]
    ]


def files(project: Project) -> dict[str, str]:
    """sha256 of all that the stages wrote, dvc.lock included."""
    found = [path for top in ("build", "out") for path in (project.root / top).rglob("*")]
    found += [project.root / "dvc.lock", project.root / "resolved.yaml"]
    hashes = {
        path.relative_to(project.root).as_posix(): sha256_file(path)
        for path in found
        if path.is_file()
    }
    assert {"out/adapter.safetensors", "out/report/index.html", "build/manifest.json"} <= {*hashes}
    return hashes


def test_a_training_killed_again_and_again_goes_on_and_ends_in_the_same_bytes(project: Project):
    """Here while a checkpoint and while outputs are written; 54 instants: `docs/kills.md`."""
    reference = Unbroken(outputs(project), STEPS, every=1)
    aims = [
        Aim(step=1, moment="writing a checkpoint"),
        Aim(0.5),
        Aim(moment="writing outputs", alone=True),
    ]
    kills = chain(project, reference, iter(aims))
    assert len(kills) == 3
    assert kills[0].during.startswith(("writing a checkpoint", "the steps after"))  # just written
    assert kills[2].during == "writing outputs"
    assert kills[-1].went_on == f"after step {STEPS - 1}"


@pytest.mark.parametrize("content", ["", '{"out/'])
def test_a_lock_that_dvc_was_killed_over_is_deleted_and_all_goes_on(project: Project, content):
    lock = project.root / ".dvc/tmp/rwlock"
    lock.write_text(content)
    told = project.run("dvc", "repro", "--force", "--single-item", "report", check=False)
    assert told.returncode != 0
    assert "Unable to read RWLock-file '.dvc/tmp/rwlock'" in told.stderr
    assert remove_broken_lock(project)
    assert not remove_broken_lock(project)
    project.run("dvc", "repro", "--force", "--single-item", "report")
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_a_progress_bar_and_five_workers_change_no_byte(project: Project):
    """Under a terminal, as a user sees it."""
    lock = (project.root / "dvc.lock").read_bytes()
    project.set("runtime.workers", 5)
    project.set("runtime.checkpoint_every", 4)
    shown = in_a_terminal(project, "dvc", "repro", "--force", "--single-item", "train")
    assert re.search("train .*━", shown), shown
    project.run("git", "checkout", "-q", "--", "params.yaml")
    assert (project.root / "dvc.lock").read_bytes() == lock
    assert project.run("git", "status", "--porcelain").stdout == ""


def in_a_terminal(project: Project, *command: str) -> str:
    """What a command shows on a terminal of its own; it must succeed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=project.root,
        env=project.environment(TERM="xterm", COLUMNS="120"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while data := os.read(ours, 65536):
            shown += data
    os.close(ours)
    assert process.wait() == 0, shown.decode(errors="replace")
    return shown.decode(errors="replace")


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
    project.run("dvc", "exp", "run", "-n", "small-rank", "-S", "lora.rank=2")
    shown = project.run("dvc", "exp", "show", "--csv").stdout
    assert "small-rank" in shown
    assert project.json("out/train.json")["steps"] == STEPS
    changed = project.run("dvc", "metrics", "diff").stdout
    assert "loss_last" in changed
    assert "index.html" in project.run("dvc", "plots", "show").stdout
    trained = project.lock()["train"]
    project.run("dvc", "repro", "--force", "--single-item", "train")
    assert project.lock()["train"] == trained, "dvc repro gives what dvc exp run gave"
    project.run("git", "checkout", "-q", "--", ".")
    project.run("dvc", "checkout", "-q")


def test_trace_and_diff_know_the_commits_and_the_experiment_of_real_trainings(project: Project):
    def ask(*command: str) -> str:
        return project.run("python", "-m", "lora_recipes", *command).stdout

    head = project.run("git", "rev-parse", "HEAD").stdout.strip()
    snapshot = "out/snapshots/step-000003.safetensors"
    for file in ("out/adapter.safetensors", snapshot):
        found = ask("trace", file)
        assert f"{file}, byte for byte" in found
        assert f"{head[:10]}  " in found
        assert "branch main" in found
    found = ask("diff", "HEAD", "small-rank")
    assert "lora.rank  8 → 2\n" in found
    assert "images and captions\n  the same\n" in found
    assert "of another shape: " in found
    shutil.copy(project.root / "out/adapter.safetensors", project.root.parent / "full.safetensors")
    project.run("dvc", "exp", "apply", "small-rank")
    assert "dvc exp apply small-rank" in ask("trace", "out/adapter.safetensors")
    found = ask("diff", "../full.safetensors", "out/adapter.safetensors")
    assert "lora.rank  8 → 2\n" in found
    project.run("git", "checkout", "-q", "--", ".")
    project.run("dvc", "checkout", "-q")


@pytest.mark.slow
def test_an_experiment_in_a_temporary_copy_gives_the_commits_own_bytes(project: Project):
    project.run("dvc", "exp", "run", "-q", "--temp", "--force", "-n", "in-temp")
    lock = project.run("git", "show", f"{experiment(project, 'in-temp')}:dvc.lock").stdout
    assert lock == (project.root / "dvc.lock").read_text()
    assert project.run("git", "status", "--porcelain").stdout == ""


def experiment(project: Project, name: str) -> str:
    """The commit of an experiment."""
    found = project.run("git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
    (commit,) = [line.split()[0] for line in found.stdout.splitlines() if line.endswith(name)]
    return commit


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
