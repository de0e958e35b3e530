"""Every file that one stage leaves for another: damaged, it is named, with a way out.

No traceback, no waiting for ever, and no text of a library.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_recipes.dataset.cache import StatCache
from lora_recipes.dataset.manifest import Image as Listed
from lora_recipes.dataset.manifest import (
    ListedPicture,
    Manifest,
    make,
    read_pictures,
    write_pictures,
)
from lora_recipes.dataset.manifest import read as read_manifest
from lora_recipes.dataset.manifest import write as write_manifest
from lora_recipes.dataset.pin import read_listing, write_listing
from lora_recipes.encode.store import EncodedIndex, Example, load_moments, read_index, write_index
from lora_recipes.errors import UserError
from lora_recipes.pipeline import RECORD
from lora_recipes.plan.measured import own_runs
from lora_recipes.provenance.code import Sources
from lora_recipes.provenance.compare import read_record
from lora_recipes.provenance.lock import WAY_BACK, read_stages
from lora_recipes.provenance.packages import locked
from lora_recipes.report.inputs import read as read_report_inputs
from tests.report.project import Made

DEEP = 100_000


def nothing(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def content(of: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(of(path.read_bytes())) and None


DAMAGES: dict[str, Callable[[Path], None]] = {
    "nothing": nothing,
    "folder": folder,
    "pipe": pipe,
    "empty": content(lambda _: b""),
    "cut": content(lambda was: was[: len(was) // 2]),
    "zeros": content(lambda was: bytes(len(was))),
    "list": content(lambda _: b"[1, 2]"),
    "number": content(lambda _: b"7"),
    "null": content(lambda _: b"null"),
    "deep list": content(lambda _: b"[" * DEEP),
    "deep object": content(lambda _: b'{"a":' * DEEP),
    "UTF-16": content(lambda was: was.decode("utf-8", "replace").encode("utf-16")),
    "not UTF-8": content(lambda was: b"\xff" + was),
}


def sample_manifest() -> Manifest:
    return make([Listed("a.png", "train", "sha256:0", 8, 8, "PNG", "a dog", "file", 1)])


def sample_index() -> EncodedIndex:
    example = Example("a.png", "train", 1, "moments/a", ("text/a",), (8, 8, 0, 0, 8, 8))
    return EncodedIndex((example,), "sha256:0", 0.5, "epsilon", {"vae": "sha256:0"})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each kind."""
    root = Made().write(tmp_path_factory.mktemp("made"))
    write_manifest(root / "build/whole.json", sample_manifest())
    write_pictures(root / "build/pictures.json", sample_manifest())
    write_index(root / "build/encoded", sample_index())
    (root / "requirements.lock").write_text("torch==2.13.0\nnumpy==2.0.0\n")
    (root / "dvc.lock").write_text("schema: '2.0'\nstages:\n  train:\n    cmd: train\n")
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "project"))


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "build/whole.json": ("build/whole.json", lambda r: read_manifest(r / "build/whole.json")),
    "build/pictures.json": (
        "build/pictures.json",
        lambda r: read_pictures(r / "build/pictures.json"),
    ),
    "build/encoded/index.json": (
        "build/encoded/index.json",
        lambda r: read_index(r / "build/encoded"),
    ),
    "build/manifest.json": ("build/manifest.json", read_report_inputs),
    "build/images/index.json": ("build/images/index.json", read_report_inputs),
    "out/samples/index.json": ("out/samples/index.json", read_report_inputs),
    "out/train.json": ("out/train.json", read_report_inputs),
    "out/loss.tsv": ("out/loss.tsv", read_report_inputs),
    "out/adapter.safetensors": ("out/adapter.safetensors", read_report_inputs),
    "resolved.yaml": ("resolved.yaml", read_report_inputs),
    "dvc.lock": ("dvc.lock", lambda r: read_stages(r / "dvc.lock", WAY_BACK)),
}
"""By file: what messages call it, and who reads it."""


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", READERS)
def test_a_damaged_file_is_named_with_a_way_out(root: Path, file: str, damage: str):
    shown, read = READERS[file]
    read(root)
    DAMAGES[damage](root / file)
    if (file, damage) == ("dvc.lock", "cut"):
        (root / file).write_text("schema: '2.0'\nstages:\n  train")
    with pytest.raises(UserError) as caught:
        read(root)
    (problem, *_) = caught.value.problems
    assert str(problem.where).partition(":")[0].endswith(shown)
    assert problem.what
    assert "dvc" in problem.fix or "file" in problem.fix or "correct" in problem.fix
    for word in ("Error", "Errno", "Traceback", "pydantic", "object", "NoneType"):
        assert word not in str(caught.value)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ('"repeats": 1', '"repeats": true'),
        ('"repeats": 1', '"repeats": 1.0'),
        ('"repeats": 1', '"repeats": NaN'),
        ('"repeats": 1', '"repeats": "1"'),
        ('"latent_scale": 0.5', '"latent_scale": NaN'),
        ('"latent_scale": 0.5', '"latent_scale": "0.5"'),
        ('"prediction": "epsilon"', '"prediction": ["epsilon"]'),
        ('"prediction": "epsilon"', '"prediction": "epsilon", "more": 1'),
    ],
)
def test_types_are_taken_at_their_word(tmp_path: Path, was: str, now: str):
    write_index(tmp_path, sample_index())
    file = tmp_path / "index.json"
    assert was in file.read_text()
    file.write_text(file.read_text().replace(was, now))
    with pytest.raises(UserError) as caught:
        read_index(tmp_path)
    assert str(caught.value).startswith(f"{file}: is not what the stage writes: ")


@pytest.mark.parametrize("damage", sorted(DAMAGES.keys() - {"nothing"}))
def test_what_only_saves_time_or_names_files_is_done_without(
    root: Path, damage: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    hashes, code, run = (root / ".lora" / n for n in ("hashes.json", "code.json", "runs/a.json"))
    for path in (hashes, code, run):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    listing = write_listing(root, sample_manifest())
    for path in (hashes, code, run, listing, root / "out/train.json"):
        DAMAGES[damage](path)
    assert StatCache(hashes, "1").old == {}
    Sources(root, code)
    assert own_runs(root) == []
    if damage != "UTF-16":  # which JSON may be in
        assert read_listing(root, sample_manifest().hash) is None
        assert RECORD not in read_record(root).results


@pytest.mark.parametrize("damage", ["folder", "pipe", "not UTF-8"])
def test_requirements_that_cannot_be_read_are_named(root: Path, damage: str):
    DAMAGES[damage](root / "requirements.lock")
    with pytest.raises(UserError) as caught:
        locked(root / "requirements.lock")
    assert str(caught.value) == (
        "requirements.lock: cannot be read as text in UTF-8\n"
        "  fix:     `git checkout requirements.lock` brings the committed one back"
    )


@pytest.mark.parametrize("damage", ["nothing", "folder", "pipe", "empty"])
def test_an_encoded_file_that_is_gone_or_damaged_is_named(root: Path, damage: str):
    file = root / "build/encoded/moments/a.safetensors"
    file.parent.mkdir()
    file.touch()
    DAMAGES[damage](file)
    with pytest.raises(UserError) as caught:
        load_moments(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert str(caught.value).endswith("fix:     run `dvc repro encode`, which writes it anew")


def test_what_is_whole_comes_back_as_it_was(made: Path):
    assert read_manifest(made / "build/whole.json") == sample_manifest()
    assert read_pictures(made / "build/pictures.json") == (
        ListedPicture("a.png", "sha256:0", 8, 8),
    )
    assert read_index(made / "build/encoded") == sample_index()
    assert json.loads((made / "out/train.json").read_text()) == read_report_inputs(made).train
