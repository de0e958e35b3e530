"""Captions and metadata.jsonl: which words go with which picture."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lora_recipes.dataset import variants
from lora_recipes.dataset.captions import captions, tidy
from lora_recipes.dataset.find import find
from lora_recipes.errors import UserError
from lora_recipes.printable import printable
from lora_recipes.recipe.sections.caption import CaptionSettings
from lora_recipes.recipe.sections.dataset import Dataset
from tests.fuzz.hostile import as_json, damaged, texts, values
from tests.fuzz.property import fuzz, outcome

ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-7")
PICTURES = ("a.png", "b.png", "sub/c.png", "4_toy/d.png")
TEXTS = ("a.txt", "b.caption", "sub/c.txt", "A.txt", "b.txt", "x.txt")
TABLES = ("metadata.jsonl", "sub/metadata.jsonl")

PATHS = st.one_of(st.sampled_from((*PICTURES, "../a.png", "c.png", "./a.png", "/a.png")), texts())
ROWS = st.one_of(
    st.fixed_dictionaries({"file_name": PATHS, "text": texts()}).map(as_json),
    st.fixed_dictionaries({"file_name": PATHS, "text": values()}).map(as_json),
    st.fixed_dictionaries({"file_name": PATHS, "text": st.lists(texts(), max_size=3)}).map(as_json),
    st.just('{"file_name": "a.png", "text": "a red toy"}').flatmap(damaged),
    values().map(as_json),
    texts(),
)


@st.composite
def _encoded(draw: st.DrawFn) -> bytes:
    return draw(texts()).encode(draw(st.sampled_from(ENCODINGS)), "replace")


FILES = st.dictionaries(
    st.sampled_from(TEXTS), st.one_of(_encoded(), st.binary(max_size=8)), max_size=4
)
LISTED = st.dictionaries(st.sampled_from(TABLES), st.lists(ROWS, max_size=4), max_size=2)


def _is_allowed(text: str) -> bool:
    """Whether a recipe may say it."""
    return 0 < len(text) <= 4096 and printable(text) == text


DATASETS = st.builds(
    Dataset,
    trigger=st.sampled_from(("none", "rex", "a\nb")),
    class_word=st.sampled_from(("none", "dog", "{trigger}")),
    template=st.one_of(st.just("a {trigger} {class_word}"), texts().filter(_is_allowed)),
    caption=st.builds(
        CaptionSettings,
        lines=st.booleans(),
        shuffle=st.booleans(),
        tag_dropout=st.sampled_from((0.0, 0.5, 1.0)),
        separator=st.sampled_from((",", "a", " ; ")),
        keep_tokens=st.integers(0, 3),
        keep_tokens_separator=st.sampled_from(("none", "|||", "o", ",")),
        variants=st.integers(2, 4),
        prefix=st.one_of(st.just("{trigger},"), texts().filter(_is_allowed)),
    ),
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in PICTURES:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "data"


@fuzz(500)
@example({}, {"metadata.jsonl": ["7"]}, Dataset())  # memory as for the longest one
@given(files=FILES, tables=LISTED, dataset=DATASETS)
def test_every_picture_has_one_caption_or_a_named_problem(folder, files, tables, dataset):
    for name in (*TEXTS, *TABLES):
        (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for name, rows in tables.items():
        text = "\n".join(rows)
        (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    result = outcome(lambda: _captions(folder, dataset), mebibytes=64)
    if result.value is not None:
        _hold(files, tables, result.value, dataset)


def _captions(folder: Path, dataset: Dataset):
    found, problems = captions(folder, find(folder, dataset), dataset)
    if problems:
        raise UserError(problems)
    return found


def _hold(files, tables, found, dataset) -> None:
    assert sorted(found) == sorted(PICTURES)
    for caption in found.values():
        assert len(caption.texts) == 1 or "" not in caption.texts
        for text in caption.texts:
            assert "\0" not in text
            assert text == unicodedata.normalize("NFC", " ".join(text.split()))
            text.encode()
        made = variants.texts(caption.texts, dataset, "train")
        most = dataset.caption.variants if variants.varies(dataset.caption) else 1
        assert len(made) in (1, most * len(caption.texts))
        assert all(text == " ".join(text.split()) for text in made)
    for picture, text in (("a.png", "a.txt"), ("sub/c.png", "sub/c.txt")):
        if text in files:
            whole = files[text].decode("utf-8-sig")
            lines = whole.rstrip().split("\n") if dataset.caption.lines else [whole]
            assert found[picture].source == "file"
            assert found[picture].texts == tuple(map(tidy, lines))
    rows = [json.loads(row) for row in tables.get("metadata.jsonl", ()) if row.strip()]
    own = {row["file_name"]: row["text"] for row in rows if row["file_name"] in PICTURES}
    for picture, text in own.items():
        several = text if isinstance(text, list) else [text]
        assert found[picture].texts == tuple(map(tidy, several))
        assert found[picture].source == "metadata"
