"""What no generator makes: files without end, races, farms of links, what weighs too much."""

from __future__ import annotations

import json
import os
import struct
from argparse import Namespace
from pathlib import Path

import pytest

from lora_recipes import cli
from lora_recipes.base.locate import locate
from lora_recipes.console import PlainReporter
from lora_recipes.dataset import examine
from lora_recipes.dataset.build import build
from lora_recipes.dataset.pin import differences, read_listing
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.dataset import Dataset
from tests.dataset.pictures import put
from tests.fuzz.bases import hollow
from tests.fuzz.property import Outcome, outcome
from tests.fuzz.recipes import HEAD, PARAMS

ENDLESS = 100 * 2**30
"""Bytes of a file that takes no room on the disk."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("recipes", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "params.yaml").write_text(PARAMS, "utf-8")
    (tmp_path / "recipes/mine.yaml").write_text(HEAD.format("mine") + "extends: below\n", "utf-8")
    put(tmp_path / "data", "a.png")
    return tmp_path


def endless(path: Path, start: bytes = b"") -> Path:
    path.write_bytes(start)
    os.truncate(path, ENDLESS)
    return path


def validated(here: Path) -> Outcome:
    return outcome(lambda: cli.validate(Namespace(recipe=["mine"], strict=False), here))


def built(here: Path) -> Outcome:
    reporter = PlainReporter
    return outcome(lambda: build(here / "data", Dataset(template="a"), here / "f", reporter()))


def test_a_recipe_may_not_extend_a_pipe_a_device_or_a_file_without_end(here: Path):
    below = here / "recipes/below.yaml"
    os.mkfifo(below)
    assert "recipes/below.yaml: is not an ordinary file" in validated(here).printed
    below.unlink()
    below.symlink_to("/dev/zero")
    assert "recipes/below.yaml: is not an ordinary file" in validated(here).printed
    below.unlink()
    endless(below, b"a: 1\n")
    assert "recipes/below.yaml: has more than 1,048,576 bytes" in validated(here).printed


@pytest.mark.parametrize(
    ("name", "start", "told"),
    [
        ("b.png", b"\x89PNG\r\n\x1a\n", "data/b.png: has 107,374,182,400 bytes and was not read"),
        ("a.txt", b"words", "data/a.txt: has more than 1,048,576 bytes and was not read"),
        ("metadata.jsonl", b"{", "data/metadata.jsonl: has more than 268,435,456 bytes"),
    ],
)
def test_a_data_file_without_end_is_named_and_not_read(here, monkeypatch, name, start, told):
    monkeypatch.setattr("lora_recipes.dataset.build.hashes_of", lambda entries, cache: {})
    endless(here / "data" / name, start)
    assert told in built(here).printed


def test_a_picture_that_is_gone_while_it_is_looked_at_is_no_traceback(here, monkeypatch, later):
    facts = examine.facts_of

    def gone(data, suffix):
        (here / "data/a.png").unlink()
        return facts(data, suffix)

    monkeypatch.setattr(examine, "facts_of", gone)
    assert built(here).error is None


def test_a_farm_of_links_is_followed_as_far_as_the_system_does(here: Path):
    for number in range(60):
        target = f"{number - 1}.png" if number else "a.png"
        (here / f"data/{number}.png").symlink_to(target)
    assert "is a link that leads back to itself" in built(here).printed


def test_a_pin_is_compared_in_few_words_and_its_listing_is_not_trusted(here: Path):
    fields = {"role": "train", "path": "a.png", "sha256": "x", "repeats": 1}
    lines = differences([{**fields, "caption": "a " * 10**6}], [{**fields, "caption": "b"}])
    assert len("".join(lines)) < 1000
    pin = "sha256:" + "0" * 64
    listing = here / "recipes/pins" / f"{'0' * 16}.json"
    listing.parent.mkdir()
    os.mkfifo(listing)
    assert outcome(lambda: read_listing(here, pin)).value is None
    listing.unlink()
    listing.write_text("[" * 10**6)
    assert outcome(lambda: read_listing(here, pin)).value is None


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer.json"])
def test_a_base_with_a_vocabulary_without_end_is_refused_before_it_is_hashed(here, name):
    file = endless(hollow(here / "model") / "tokenizer" / name)
    result = outcome(lambda: locate(Base(model="model"), here, download=False))
    assert result.printed.startswith(f"{file}: has more than 67,108,864 bytes")


def test_a_base_of_thousands_of_shards_is_refused_before_they_are_read(here: Path):
    unet = hollow(here / "model") / "unet"
    (unet / "diffusion_pytorch_model.safetensors").rename(unet / "s0.safetensors")
    for number in range(1, 3000):
        (unet / f"s{number}.safetensors").symlink_to("s0.safetensors")
    index = {"weight_map": {f"w{number}": f"s{number}.safetensors" for number in range(3000)}}
    (unet / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    result = outcome(lambda: locate(Base(model="model"), here, download=False))
    assert "index.json: weight_map names 3,000 files" in result.printed


def adapter(path: Path, header: dict, size: int) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + size)
    return path


def test_an_adapter_without_end_is_named_and_not_read(here: Path):
    entry = {"dtype": "F32", "shape": [ENDLESS // 4], "data_offsets": [0, ENDLESS]}
    file = adapter(here / "a.safetensors", {"lora_unet_x.diff": entry}, ENDLESS)
    result = outcome(lambda: cli.inspect(Namespace(file=str(file), json=False), here))
    assert "bytes, more than can be looked at here" in result.printed


def test_an_adapter_that_fits_no_memory_is_named(here: Path):
    size = 2**30
    entry = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    file = adapter(here / "a.safetensors", {"lora_unet_x.diff": entry}, size)
    result = outcome(lambda: cli.inspect(Namespace(file=str(file), json=False), here))
    assert "bytes, more than can be looked at here" in result.printed


def test_patterns_of_many_pieces_are_not_tried(here: Path):
    pattern = ".*a" * 2000
    metadata = {
        "lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.rank_pattern": {pattern: 2}})
    }
    entries = {
        f"unet.{'a.' * 200}m{n}.lora_A.weight": {
            "dtype": "F32", "shape": [1, 1], "data_offsets": [4 * n, 4 * n + 4],
        }
        for n in range(500)
    }  # fmt: skip
    file = adapter(here / "a.safetensors", {"__metadata__": metadata, **entries}, 2000)
    result = outcome(lambda: cli.inspect(Namespace(file=str(file), json=False), here))
    assert "not used: lora_adapter_metadata: unet: rank_pattern of .*a" in result.printed
