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


TRAIN, ENVIRONMENT = "out/train.json", "out/environment.json"
NOTHING = TrainingRecord({}, {})


def record(root: Path, file: str, results: dict[str, Any], **environment: dict[str, str]) -> None:
    (root / "out").mkdir(exist_ok=True)
    (root / file).write_text(json.dumps({**results, **environment}))


@pytest.mark.parametrize(("now", "same"), [("a", True), ("b", False)])
def test_an_output_is_the_same_if_its_hash_is(tmp_path: Path, now: str, same: bool):
    assert judge(tmp_path, "out/loss.tsv", NOTHING, ("a", now)).same is same


@pytest.mark.parametrize(
    ("value", "environment", "expected"),
    [
        (1.0, THERE, (True, "but for the environment, which is another")),
        (1.5, THERE, (False, "")),
        (1.5, HERE, (False, "")),
    ],
)
@pytest.mark.parametrize("file", [ENVIRONMENT, TRAIN], ids=["now", "in earlier releases"])
def test_the_record_is_compared_without_the_machine(tmp_path, file, value, environment, expected):
    record(tmp_path, file, {"value": value}, environment=environment)
    then = TrainingRecord({file: {"value": 1.0}}, HERE)
    output = judge(tmp_path, file, then, ("a", "b"))
    assert (output.same, output.note) == expected


def test_figures_on_another_machine_are_compared_by_themselves(tmp_path: Path):
    record(tmp_path, TRAIN, {"loss": 1.5})
    record(tmp_path, ENVIRONMENT, {"adapter_sha256": "x"}, environment=THERE)
    then = TrainingRecord({TRAIN: {"loss": 1.0}, ENVIRONMENT: {"adapter_sha256": "x"}}, HERE)
    assert judge(tmp_path, TRAIN, then, ("a", "b")).same is False
    assert judge(tmp_path, ENVIRONMENT, then, ("a", "b")).same is True


def test_a_record_that_the_commit_does_not_hold_is_not_compared(tmp_path: Path):
    assert read_record(tmp_path) == NOTHING
    record(tmp_path, TRAIN, {"loss": 1.0})
    record(tmp_path, ENVIRONMENT, {}, environment=HERE)
    assert read_record(tmp_path) == TrainingRecord({TRAIN: {"loss": 1.0}, ENVIRONMENT: {}}, HERE)
    assert judge(tmp_path, TRAIN, NOTHING, ("a", "b")).same is None
    assert judge(tmp_path, TRAIN, NOTHING, ("a", "a")).same is True


@pytest.mark.parametrize("text", ["", "[]", '{"environment": 3}', '{"environment": {"a'])
def test_a_record_that_is_none_is_as_good_as_absent(tmp_path: Path, text: str):
    (tmp_path / "out").mkdir()
    (tmp_path / ENVIRONMENT).write_text(text)
    assert read_record(tmp_path) == NOTHING


def test_the_page_is_compared_only_where_the_environment_that_it_shows_is_the_same(tmp_path):
    record(tmp_path, ENVIRONMENT, {}, environment=HERE)
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
    output = judge(tmp_path, "out/samples", NOTHING, (was, "b.dir"))
    assert output.files == ("gone", "new", "other")
