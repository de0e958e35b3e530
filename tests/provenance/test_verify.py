"""The way of a verification, on a project of one stage that needs no training.

That a real training is given back, and what is refused of one: `tests/pipeline/test_verify.py`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_recipes.cli import main
from lora_recipes.errors import CannotTell
from lora_recipes.provenance.lock import read_lock
from lora_recipes.provenance.objects import Objects
from lora_recipes.provenance.rerun import check_code
from lora_recipes.provenance.verdict import Verdict
from lora_recipes.provenance.verify import Wanted, verify
from lora_recipes.reporting import Quiet
from tests.pipeline import warm_dvc
from tests.provenance.git import commit, git, make_repository

FILES = {
    "dvc.yaml": "stages:\n  train:\n    cmd: sh train.sh\n    deps: [data/rex]\n"
    "    outs: [out/adapter.safetensors]\n",
    "train.sh": "mkdir -p out\ncat data/rex/a.txt models/own/a.txt > out/adapter.safetensors\n",
    "resolved.yaml": "base:\n  model: models/own\n  vae: base\n",
    ".gitignore": "/.lora/\n/models/\n/out/\n/data/rex\n",
    "data/rex/a.txt": "a picture\n",
    "models/own/a.txt": "a base model\n",
}


def dvc(root: Path, *arguments: str) -> None:
    done = warm_dvc.run(arguments, root, os.environ)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_repository(tmp_path_factory.mktemp("made") / "a project")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    dvc(root, "init", "-q")
    dvc(root, "add", "-q", "data/rex")
    dvc(root, "repro", "-q")
    commit(root, "first")
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "a project"
    shutil.copytree(made, root, symlinks=True)
    yield root
    assert len(git(root, "worktree", "list").splitlines()) == 1


def judge(root: Path, **how: bool) -> Verdict:
    return verify(root, Wanted("HEAD", **how), Quiet())


def refusal(root: Path, **how: bool) -> str:
    with pytest.raises(CannotTell) as error:
        judge(root, **how)
    return str(error.value)


@pytest.mark.parametrize("every_stage", [False, True])
def test_pictures_come_from_the_cache_and_the_base_from_where_it_lies(root, every_stage):
    shutil.rmtree(root / "data/rex")
    verdict = judge(root, every_stage=every_stage)
    assert [(o.stage, o.path, o.same) for o in verdict.outputs] == [
        ("train", "out/adapter.safetensors", True)
    ]
    assert (root / "models/own/a.txt").read_text() == "a base model\n"


@pytest.mark.parametrize("every_stage", [False, True])
def test_it_is_said_where_generated_regularization_pictures_come_from(root, every_stage):
    resolved = root / "resolved.yaml"
    resolved.write_text(f"{resolved.read_text()}prior_prompts: [a photo of a toy]\n")
    commit(root, "pictures that the base generated")
    (note,) = judge(root, every_stage=every_stage).notes
    assert note == (
        "the regularization pictures in build/prior were generated again"
        if every_stage
        else "the regularization pictures are those that the commit generated and encoded then: "
        "build/encoded is the cache's; --all generates them again"
    )


def test_an_output_that_never_repeats_is_found_and_its_drift_asks_for_the_old_file(root):
    (root / "train.sh").write_text("mkdir -p out\nmktemp -u > out/adapter.safetensors\n")
    dvc(root, "repro", "-q", "-f")
    commit(root, "different each time")
    shutil.rmtree(root / ".dvc/cache/files/md5")
    dvc(root, "commit", "-q", "-f", "data/rex.dvc")
    verdict = judge(root)
    assert verdict.word == "not reproduced"
    assert verdict.notes == (
        "out/adapter.safetensors: how far it is off is not known, since the cache does not hold "
        "the commit's own file (--pull fetches it)",
    )


def test_a_damaged_adapter_in_the_cache_is_said_though_the_commit_is_reproduced(root):
    md5 = read_lock(root)["train"].outs["out/adapter.safetensors"]
    place = Objects(root / ".dvc/cache").path(md5)
    place.chmod(0o644)
    place.write_text("damaged")
    verdict = judge(root)
    assert verdict.word == "reproduced"
    assert place.read_text() == "damaged", "DVC would have deleted it"
    assert verdict.notes == (
        f"out/adapter.safetensors: its object in DVC's cache is damaged: {place} does not hold "
        "what its name says\n  fix:     delete that object, then `dvc fetch` it, or make it again "
        "with `dvc repro --force`",
    )


def test_data_that_were_added_and_not_trained_on_are_refused(root: Path):
    trained_on = read_lock(root)["train"].deps["data/rex"][:8]
    (root / "data/rex/a.txt").write_text("another picture\n")
    dvc(root, "add", "-q", "data/rex")
    commit(root, "data alone")
    assert refusal(root) == (
        f"data/rex.dvc: half-made commit: it names other data than the stages ran on "
        f"({trained_on})\n"
        "  fix:     check this commit out, run `dvc repro`, and commit what it changes; "
        "then verify that"
    )


def test_another_command_than_the_one_that_ran_is_refused(root: Path):
    (root / "dvc.yaml").write_text(FILES["dvc.yaml"].replace("sh train.sh", "sh -e train.sh"))
    commit(root, "command alone")
    assert refusal(root).startswith(
        "dvc.yaml: half-made commit: train has another command than it ran with\n"
    )


def test_a_stage_that_never_ran_is_refused_where_all_are_asked_for(root: Path):
    more = "  report:\n    cmd: ls\n    deps: [out/adapter.safetensors]\n"
    (root / "dvc.yaml").write_text(FILES["dvc.yaml"] + more)
    commit(root, "a stage more")
    assert judge(root).word == "reproduced"
    assert refusal(root, every_stage=True).startswith(
        "dvc.lock: the stage report never ran in this commit\n"
    )


def test_missing_data_are_refused_and_with_pull_dvc_says_why_they_cannot_come(root: Path):
    shutil.rmtree(root / ".dvc/cache/files/md5")
    assert refusal(root) == (
        "data/rex: is not in DVC's cache\n"
        "  fix:     fetch it from the DVC remote: the same command with --pull"
    )
    assert refusal(root, pull=True).startswith(
        "data/rex: is not in DVC's cache\n"
        "  fix:     `dvc push` it where it still is, to a remote that this project names"
    )
    dvc(root, "commit", "-q", "-f", "data/rex.dvc")
    dvc(root, "remote", "add", "-q", "-d", "store", "../store")
    dvc(root, "push", "-q", "data/rex.dvc")
    shutil.rmtree(root / ".dvc/cache/files/md5")
    assert judge(root, pull=True).word == "reproduced"


def test_a_stage_that_fails_shows_its_last_lines_and_is_no_answer(root: Path):
    shutil.rmtree(root / "models")
    found = refusal(root)
    assert found.startswith("the commit could not be run again; its last lines:\n")
    assert "models/own/a.txt: No such file" in found


def test_where_a_folder_cannot_be_made_the_answer_is_open_too(root: Path):
    (root / ".lora").mkdir(exist_ok=True)
    (root / ".lora/verify").write_text("in the way")
    assert refusal(root) == (
        f"{root}/.lora/verify: verifying stopped: File exists\n"
        "  fix:     free some space, or see to the file's permissions, then run it again"
    )


def test_code_from_another_tree_is_refused_by_name(tmp_path: Path):
    (tmp_path / "lora_recipes").mkdir()
    python = tmp_path / "python"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    for answer, shown in (
        ("echo /elsewhere/lora_recipes/__init__.py", "/elsewhere/lora_recipes/__init__.py"),
        ("echo 'no package' >&2; exit 1", "nothing (no package)"),
    ):
        python.write_text(f"#!/bin/sh\n{answer}\n")
        python.chmod(0o755)
        with pytest.raises(CannotTell) as error:
            check_code(tmp_path, environment)
        assert error.value.problems[0].what == (
            f"the commit's own code would not run: `import lora_recipes` takes {shown}"
        )
    python.write_text(f"#!/bin/sh\necho '{tmp_path}/lora_recipes/__init__.py'\n")
    check_code(tmp_path, environment)


def test_its_help_says_that_the_commits_code_runs(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["verify", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "It runs the commit's own code, and with --env installs its packages: verify only commits "
        "that you trust." in said
    )


def test_a_project_that_is_a_submodule_is_verified_like_any_other(made: Path, tmp_path: Path):
    top = make_repository(tmp_path / "top")
    git(top, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(made), "sub")
    root = top / "sub"
    for ignored in ("data/rex", "models", ".dvc/cache"):
        shutil.copytree(made / ignored, root / ignored)
    verdict = verify(root, Wanted("HEAD"), Quiet())
    assert [output.same for output in verdict.outputs] == [True]
    assert len(git(root, "worktree", "list").splitlines()) == 1
