"""dvc.lock tells one story, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_recipes.errors import CannotTell
from lora_recipes.provenance.lock import contradictions, read_lock, upstream
from lora_recipes.provenance.pipeline import stage_plans

LOCK = """
schema: '2.0'
stages:
  resolve:
    cmd: a
    outs: [{path: resolved.yaml, hash: md5, md5: '1111111111'}]
  encode:
    cmd: b
    deps: [{path: data, hash: md5, md5: '2222222222.dir'}]
    params: {resolved.yaml: {encode.size: 1}}
    outs: [{path: build, hash: md5, md5: '3333333333.dir'}]
  other:
    cmd: c
    outs: [{path: other, hash: md5, md5: '4444444444'}]
  train:
    cmd: d
    deps: [{path: build, hash: md5, md5: '3333333333.dir'}]
    outs: [{path: adapter, hash: md5, md5: '5555555555'}]
"""


def write(root: Path, text: str) -> Path:
    (root / "dvc.lock").write_text(text)
    return root


def test_a_stage_builds_on_those_whose_files_and_settings_it_reads(tmp_path: Path):
    lock = read_lock(write(tmp_path, LOCK))
    assert upstream(lock, "train") == ["resolve", "encode", "train"]
    assert upstream(lock, "other") == ["other"]
    assert lock["encode"].params == {"encode.size": 1}
    assert contradictions(lock, lock) == []


def test_a_stage_that_ran_on_something_else_than_was_made_is_named(tmp_path: Path):
    lock = read_lock(write(tmp_path, LOCK.replace("3333333333", "6666666666", 1)))
    assert [str(problem) for problem in contradictions(lock, ["train"])] == [
        "dvc.lock: contradicts itself: train ran on build 33333333, but encode made 66666666\n"
        "  fix:     check this commit out, run `dvc repro`, and commit what it changes; "
        "then verify that"
    ]
    assert contradictions(lock, ["encode"]) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<<<<<<< HEAD\nstages: {}\n", "cannot be read: "),
        ("schema: '2.0'\n", "cannot be read: no 'stages'"),
        ("stages: {train: {outs: [{path: a, etag: b}]}}", "cannot be read: no 'md5'"),
        ("stages: [train]", "cannot be read: "),
        ("", "cannot be read: it is empty\n"),
        ("\0" * 100, "cannot be read: it is empty\n"),
        ("schema: '2.0'\nstages:\n  train", "cannot be read: "),
        ("stages: {train: {outs: [{path: a, md5: 12}]}}", "cannot be read: it is cut off, or was "),
        ("[" * 100_000, "cannot be read: it is cut off, or was "),
    ],
)
def test_a_lock_that_is_not_whole_is_refused(tmp_path: Path, text: str, what: str):
    with pytest.raises(CannotTell) as error:
        read_lock(write(tmp_path, text))
    assert str(error.value).startswith(f"dvc.lock: {what}")


def test_a_commit_without_a_lock_is_refused(tmp_path: Path):
    with pytest.raises(CannotTell) as error:
        read_lock(tmp_path)
    assert str(error.value) == (
        "dvc.lock: is not in this commit: nothing was trained in it\n"
        "  fix:     name a commit that was made after `dvc repro`"
    )


@pytest.mark.parametrize("text", ["", "schema: '2.0'\n", "[", "stages: 3"])
def test_a_plan_beside_a_damaged_lock_says_the_way_back(tmp_path: Path, text: str):
    write(tmp_path, text)
    with pytest.raises(CannotTell) as error:
        stage_plans(tmp_path, {})
    (problem,) = error.value.problems
    assert problem.where == "dvc.lock"
    assert problem.what.startswith("cannot be read: ")
    assert problem.fix == (
        "`git checkout dvc.lock` brings the committed one back; without one, delete it: "
        "`dvc repro` writes it anew, and takes from its cache what it has made before"
    )
