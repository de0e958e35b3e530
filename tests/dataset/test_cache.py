"""The stat cache saves time and decides nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lora_recipes.dataset.cache import StatCache


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(b"first")
    return path


def remember(file: Path, fact: str = "fact", version: str = "1") -> None:
    cache = StatCache(file.with_name("cache.json"), version)
    cache.put(file, file.stat(), fact)
    cache.save()


def recall(file: Path, version: str = "1") -> object:
    return StatCache(file.with_name("cache.json"), version).get(file, file.stat())


@pytest.mark.usefixtures("later")
def test_a_fact_about_an_untouched_file_is_remembered(file):
    remember(file)
    assert recall(file) == "fact"


def test_a_file_changed_within_the_last_two_seconds_is_not_trusted(file):
    remember(file)
    assert recall(file) is None


@pytest.mark.usefixtures("later")
def test_the_same_size_and_modification_time_do_not_hide_a_change(file):
    remember(file)
    before = file.stat()
    time.sleep(0.02)
    file.write_bytes(b"other")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (5, before.st_mtime_ns)
    assert recall(file) is None


@pytest.mark.usefixtures("later")
def test_a_file_replaced_by_another_is_not_the_one_remembered(file):
    remember(file)
    twin = file.with_name("twin")
    twin.write_bytes(b"other")
    stat = file.stat()
    os.utime(twin, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    twin.replace(file)
    assert recall(file) is None


@pytest.mark.usefixtures("later")
def test_a_file_that_changes_while_it_is_read_is_not_remembered(file):
    cache = StatCache(file.with_name("cache.json"), "1")
    before = file.stat()
    file.write_bytes(b"longer than before")
    cache.put(file, before, "fact")
    cache.save()
    assert recall(file) is None


@pytest.mark.usefixtures("later")
def test_another_version_remembers_nothing(file):
    remember(file, version="1")
    assert recall(file, version="2") is None


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("content", ["", "[]", "{", '{"version": "1", "files": 3}', "\0"])
def test_a_damaged_cache_is_an_empty_one(file, content):
    file.with_name("cache.json").write_text(content)
    assert recall(file) is None
    remember(file)
    assert recall(file) == "fact"
