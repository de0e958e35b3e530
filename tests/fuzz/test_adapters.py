"""Adapter files: `inspect`, `diff`, and what `trace` reads of them."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest
from hypothesis import given

from lora_recipes import cli
from lora_recipes.formats.arrays import read_arrays
from lora_recipes.formats.drift import drift
from lora_recipes.formats.hashes import identity
from lora_recipes.formats.header import recipe_of
from lora_recipes.tensors import header_bytes, read_header
from tests.fuzz.adapters import files
from tests.fuzz.property import fuzz, outcome


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return tmp_path_factory.mktemp("adapters")


@fuzz(400)
@given(content=files())
def test_an_adapter_is_described_or_refused_by_name(here: Path, content: bytes):
    file = here / "a.safetensors"
    file.write_bytes(content)
    table = outcome(lambda: cli.inspect(Namespace(file=str(file), json=False), here))
    told = outcome(lambda: cli.inspect(Namespace(file=str(file), json=True), here))
    assert (table.error is None) == (told.error is None)
    if told.error is None:
        _hold(here, file, json.loads(told.printed))


def _hold(here: Path, file: Path, told: dict) -> None:
    """What is told is what stands there; the header, written again, says the same."""
    header, arrays = read_arrays(file)
    assert told["values"] == sum(values.size for values in arrays.values())
    assert told["bytes"] == file.stat().st_size
    assert told["metadata"] == dict(header.metadata)
    recipe_of(header.metadata)
    assert len(identity(file)["tensors_sha256"]) == 16
    assert drift(file, file).differs in (0, drift(file, file).differs)
    entries = {
        name: {"dtype": e.dtype, "shape": list(e.shape), "data_offsets": [e.start, e.end]}
        for name, e in header.entries.items()
    }
    whole = {"__metadata__": dict(header.metadata), **entries}
    if _is_unicode(whole):
        again = here / "again.safetensors"
        again.write_bytes(header_bytes(whole) + file.read_bytes()[header.data_start :])
        other = read_header(again)
        assert (other.metadata, other.entries) == (header.metadata, header.entries)


def _is_unicode(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@fuzz(100)
@given(one=files(), two=files())
def test_two_adapters_are_compared_or_refused_by_name(here: Path, one: bytes, two: bytes):
    names = []
    for name, content in (("one", one), ("two", two)):
        (here / f"{name}.safetensors").write_bytes(content)
        names.append(str(here / f"{name}.safetensors"))
    for as_json in (False, True):
        options = Namespace(before=names[0], after=names[1], json=as_json)
        result = outcome(lambda o=options: cli.diff(o, here))
        if result.error is None and as_json:
            assert json.loads(result.printed)
