"""DVC's cache is read without trust: what is missing or damaged is named, and stays as it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from lora_recipes.provenance.objects import Objects, file_md5, folder_listing


def put(cache: Path, data: bytes, suffix: str = "") -> str:
    """Store bytes as DVC does; the hash that names them."""
    md5 = hashlib.md5(data).hexdigest() + suffix
    place = cache / "files/md5" / md5[:2] / md5[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    place.chmod(0o444)
    return md5


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def folder(cache: Path) -> str:
    files = {"a.txt": b"one", "deep/b.txt": b"two", "empty": b""}
    listing = [{"md5": put(cache, data), "relpath": name} for name, data in files.items()]
    return put(cache, json.dumps(listing).encode(), ".dir")


def test_a_file_and_a_folder_come_out_as_they_went_in(cache, folder, tmp_path: Path):
    root = tmp_path / "there"
    one = put(cache, b"bytes")
    assert not Objects(cache).place("out/one.bin", one, root)
    assert not Objects(cache).place("data/rex", folder, root)
    assert (root / "out/one.bin").read_bytes() == b"bytes"
    assert (root / "data/rex/deep/b.txt").read_bytes() == b"two"
    assert folder_listing(root / "data/rex") == Objects(cache).listing(folder)
    assert file_md5(root / "out/one.bin") == one
    (root / "out/one.bin").write_bytes(b"a copy, not a link")
    assert Objects(cache).path(one).read_bytes() == b"bytes"


def test_missing_objects_are_named_by_the_file_that_they_would_be(cache, folder, tmp_path: Path):
    objects = Objects(cache)
    objects.path(hashlib.md5(b"two").hexdigest()).unlink()
    assert objects.place("data/rex", folder, tmp_path).missing == ["data/rex/deep/b.txt"]
    objects.path(folder).unlink()
    assert objects.look("data/rex", folder).missing == ["data/rex"]
    assert objects.listing(folder) is None


def test_damaged_objects_are_named_with_their_place_and_left_as_they_are(cache, folder, tmp_path):
    objects = Objects(cache)
    for md5, name in ((hashlib.md5(b"one").hexdigest(), "data/rex/a.txt"), (folder, "data/rex")):
        place = objects.path(md5)
        place.chmod(0o644)
        place.write_bytes(place.read_bytes() + b" ")
        place.chmod(0o444)
        before = place.read_bytes()
        assert objects.look("data/rex", folder).damaged == {name: place}
        assert objects.place("data/rex", folder, tmp_path).damaged == {name: place}
        assert place.read_bytes() == before
