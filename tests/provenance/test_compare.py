"""Outputs are compared by hash; the record by its figures, since it also describes the machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from lora_recipes.provenance.compare import TrainingRecord, compare, read_record
from lora_recipes.provenance.lock import LockedStage
from lora_recipes.provenance.objects import Objects

HERE, THERE = {"device": "one"}, {"device": "two"}


def judge(root: Path, path: str, then: TrainingRecord, hashes: tuple[str, str]) -> Any:
    """What is found of one output whose hash was the first and is the second."""
    before, after = ({"stage": LockedStage("stage", {}, {}, {path: md5})} for md5 in hashes)
    (output,) = compare(
        root, then, before=before, after=after, names=["stage"], objects=Objects(root / "cache")
    )
    return output


def record(root: Path, figures: dict[str, Any], environment: dict[str, str]) -> None:
    (root / "out").mkdir(exist_ok=True)
    (root / "out/train.json").write_text(json.dumps({**figures, "environment": environment}))


@pytest.mark.parametrize(("now", "same"), [("a", True), ("b", False)])
def test_an_output_is_the_same_if_its_hash_is(tmp_path: Path, now: str, same: bool):
    assert judge(tmp_path, "out/loss.tsv", TrainingRecord({}, {}), ("a", now)).same is same


@pytest.mark.parametrize(
    ("loss", "environment", "same", "note"),
    [
        (1.0, THERE, True, "all figures; the environment is another"),
        (1.5, THERE, False, ""),
        (1.5, HERE, False, ""),
    ],
)
def test_the_record_is_compared_without_the_machine(tmp_path, loss, environment, same, note):
    record(tmp_path, {"loss": loss}, environment)
    output = judge(tmp_path, "out/train.json", TrainingRecord({"loss": 1.0}, HERE), ("a", "b"))
    assert (output.same, output.note) == (same, note)


def test_a_record_that_the_commit_does_not_hold_is_not_compared(tmp_path: Path):
    assert read_record(tmp_path) == TrainingRecord({}, {})
    record(tmp_path, {"loss": 1.0}, HERE)
    assert read_record(tmp_path) == TrainingRecord({"loss": 1.0}, HERE)
    assert judge(tmp_path, "out/train.json", TrainingRecord({}, {}), ("a", "b")).same is None
    assert judge(tmp_path, "out/train.json", TrainingRecord({}, {}), ("a", "a")).same is True


def test_the_page_is_compared_only_where_the_environment_that_it_shows_is_the_same(tmp_path):
    record(tmp_path, {}, HERE)
    hashes = ("a.dir", "b.dir")
    assert judge(tmp_path, "out/report", TrainingRecord({}, HERE), hashes).same is False
    assert judge(tmp_path, "out/report", TrainingRecord({}, THERE), hashes).same is None


def test_of_a_folder_the_files_that_are_other_new_or_gone_are_named(tmp_path: Path):
    objects = Objects(tmp_path / "cache")
    old = {"same": b"1", "other": b"2", "gone": b"3"}
    entries = [{"relpath": n, "md5": hashlib.md5(data).hexdigest()} for n, data in old.items()]
    listing = json.dumps(entries).encode()
    was = hashlib.md5(listing).hexdigest() + ".dir"
    objects.path(was).parent.mkdir(parents=True)
    objects.path(was).write_bytes(listing)
    (tmp_path / "out/samples").mkdir(parents=True)
    for name, data in {"same": b"1", "other": b"!", "new": b"4"}.items():
        (tmp_path / "out/samples" / name).write_bytes(data)
    output = judge(tmp_path, "out/samples", TrainingRecord({}, {}), (was, "b.dir"))
    assert output.files == ("gone", "new", "other")
