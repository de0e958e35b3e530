"""Which words go with which picture, and where they come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_recipes.dataset.captions import captions, unused
from lora_recipes.dataset.find import find
from lora_recipes.recipe.sections.dataset import Dataset
from tests.dataset.pictures import put

TOY = {"trigger": "zwk", "class_word": "toy"}
EXAMPLE = '{"file_name": "a.png", "text": "a caption"}'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def read(folder: Path, **dataset: str) -> dict[str, tuple[str, str]]:
    section = Dataset(**(dataset or TOY))
    texts, problems = captions(folder, find(folder, section), section)
    assert not problems, "\n".join(map(str, problems))
    return {path: (caption.texts[0], caption.source) for path, caption in texts.items()}


def read_several(folder: Path, **caption: bool) -> dict[str, tuple[str, ...]]:
    section = Dataset(**TOY, caption=caption)
    texts, problems = captions(folder, find(folder, section), section)
    assert not problems, "\n".join(map(str, problems))
    return {path: caption.texts for path, caption in texts.items()}


def errors(folder: Path, **dataset: str) -> str:
    section = Dataset(**(dataset or TOY))
    _, problems = captions(folder, find(folder, section), section)
    return "\n".join(map(str, problems))


@pytest.mark.parametrize("suffix", [".txt", ".caption", ".TXT"])
def test_a_file_beside_the_picture_is_its_caption(folder, suffix):
    put(folder, "sub/a.b.png")
    put(folder, f"sub/a.b{suffix}", "a zwk toy")
    assert read(folder) == {"sub/a.b.png": ("a zwk toy", "file")}


def test_the_whole_file_is_read_as_one_line_of_tidy_unicode(folder):
    put(folder, "a.png")
    put(folder, "a.txt", b"\xef\xbb\xbfa zwk\r\n\n  toy,\tcafe\xcc\x81\n")
    assert read(folder) == {"a.png": ("a zwk toy, café", "file")}


def test_a_caption_may_be_empty(folder):
    put(folder, "a.png")
    put(folder, "a.txt", " \n")
    assert read(folder) == {"a.png": ("", "file")}


def test_metadata_counts_from_its_own_folder(folder):
    for name in ("a.png", "sub/b.png", "sub/deep/c.png"):
        put(folder, name)
    put(folder, "metadata.jsonl", '{"file_name": "a.png", "text": "top  words", "tags": 1}\n\n')
    lines = [
        {"file_name": "b.png", "text": "one below"},
        {"file_name": "deep/c.png", "text": "two below"},
    ]
    put(folder, "sub/metadata.jsonl", "\n".join(map(json.dumps, lines)))
    assert read(folder) == {
        "a.png": ("top words", "metadata"),
        "sub/b.png": ("one below", "metadata"),
        "sub/deep/c.png": ("two below", "metadata"),
    }


def test_a_numbered_folder_names_its_pictures_unless_they_have_words_of_their_own(folder):
    put(folder, "10_zwk toy/a.png")
    put(folder, "10_zwk toy/b.png")
    put(folder, "10_zwk toy/b.txt", "own words")
    assert read(folder) == {
        "10_zwk toy/a.png": ("zwk toy", "folder"),
        "10_zwk toy/b.png": ("own words", "file"),
    }


def test_the_template_serves_the_rest(folder):
    put(folder, "a.png")
    put(folder, "held/b.png")
    assert read(folder, heldout="held", **TOY) == {
        "a.png": ("a photo of zwk toy", "template"),
        "held/b.png": ("a photo of zwk toy", "template"),
    }


def test_a_template_without_trigger_needs_none(folder):
    put(folder, "a.png")
    assert read(folder, template="an ink drawing") == {"a.png": ("an ink drawing", "template")}


def test_without_a_class_word_its_place_stays_empty(folder):
    put(folder, "a.png")
    assert read(folder, trigger="zwk") == {"a.png": ("a photo of zwk", "template")}


def test_without_caption_and_trigger_the_pictures_are_named(folder):
    put(folder, "a.png")
    put(folder, "b.png")
    assert errors(folder, trigger="none") == (
        "data: 2 pictures have no caption, and dataset.trigger is none: a.png, b.png\n"
        "  fix:     set dataset.trigger, or write a caption beside each: a.txt, …"
    )


def test_pictures_of_other_things_never_get_the_trigger(folder):
    put(folder, "a.png")
    put(folder, "other/b.png")
    assert errors(folder, control="other", **TOY) == (
        "data: 1 picture has no caption, and the template speaks of the subject, not of other "
        "things: other/b.png\n"
        "  fix:     write a caption beside each: other/b.txt"
    )


def test_each_line_of_a_file_is_a_caption_only_if_asked_for(folder):
    put(folder, "a.png")
    put(folder, "a.txt", "one  red toy\r\na toy\n\n")
    assert read_several(folder) == {"a.png": ("one red toy a toy",)}
    assert read_several(folder, lines=True) == {"a.png": ("one red toy", "a toy")}
    put(folder, "a.txt", " \n")
    assert read_several(folder, lines=True) == {"a.png": ("",)}


def test_an_empty_line_among_captions_is_named(folder):
    put(folder, "a.png")
    put(folder, "a.txt", "a toy\n \nanother\n")
    assert errors(folder, **TOY, caption={"lines": True}) == (
        "data/a.txt:2: the line is empty, and with dataset.caption.lines each line is a caption\n"
        "  fix:     delete the line; train.caption_dropout shows pictures without words"
    )
    assert errors(folder) == ""


def test_metadata_may_list_several_captions(folder):
    put(folder, "a.png")
    put(folder, "metadata.jsonl", '{"file_name": "a.png", "text": ["a  toy", "a red toy"]}')
    assert read_several(folder) == {"a.png": ("a toy", "a red toy")}


@pytest.mark.parametrize(
    ("texts", "what", "fix"),
    [
        ("[]", "text is a list without a caption", f"write lines like {EXAMPLE}"),
        ('["a", 3]', "text[1] is not a text", f"write lines like {EXAMPLE}"),
        ('["a", " "]', "text[1] is empty", "take it out of the list"),
        (r'["a\u0000"]', r"text[0] holds a NUL, \u0000", "write the line again"),
        ("{}", "text is not a text", f"write lines like {EXAMPLE}"),
    ],
)
def test_a_bad_list_of_captions_is_named(folder, texts, what, fix):
    put(folder, "a.png")
    put(folder, "metadata.jsonl", f'{{"file_name": "a.png", "text": {texts}}}')
    assert errors(folder) == f"data/metadata.jsonl:1: {what}\n  fix:     {fix}"


def test_both_kinds_of_caption_file_are_an_error(folder):
    for name in ("a.png", "a.txt", "a.caption"):
        put(folder, name, None if name == "a.png" else "words")
    assert errors(folder) == (
        "data/a.png: has two captions: a.caption and a.txt\n  fix:     keep one of them"
    )


def test_one_caption_for_two_pictures_is_an_error(folder):
    put(folder, "a.png")
    put(folder, "a.jpg")
    put(folder, "a.txt", "words")
    assert errors(folder) == (
        "data/a.txt: could belong to a.jpg or a.png\n"
        "  fix:     rename one of the pictures, and give each a caption of its own"
    )


def test_two_pictures_of_one_stem_may_share_the_template(folder):
    put(folder, "a.png")
    put(folder, "a.jpg")
    assert set(read(folder)) == {"a.jpg", "a.png"}


def test_a_caption_in_a_file_and_in_metadata_is_an_error(folder):
    put(folder, "sub/a.png")
    put(folder, "sub/a.txt", "words")
    put(folder, "metadata.jsonl", '\n{"file_name": "sub/a.png", "text": "words"}')
    assert errors(folder) == (
        "data/sub/a.png: has two captions: sub/a.txt and metadata.jsonl:2\n"
        "  fix:     keep one of them"
    )


def test_a_caption_that_is_not_utf8_is_named_with_the_byte(folder):
    put(folder, "a.png")
    put(folder, "a.txt", b"caf\xe9 noir")
    assert errors(folder) == (
        "data/a.txt: is not UTF-8: byte 0xe9 at offset 3\n"
        "  fix:     save it as UTF-8 in your editor"
    )


@pytest.mark.parametrize(
    ("line", "what", "fix"),
    [
        (
            '{"file_name": "a.png",}',
            "is not JSON: Illegal trailing comma before end of object: line 1 column 22 (char 21)",
            f"write lines like {EXAMPLE}",
        ),
        ('["a.png"]', "is not a JSON object", f"write lines like {EXAMPLE}"),
        ('{"text": "x"}', "has no file_name", f"write lines like {EXAMPLE}"),
        ('{"file_name": "a.png"}', "has no text", f"write lines like {EXAMPLE}"),
        (
            '{"file_name": "a.png", "text": 3}',
            "text is not a text",
            f"write lines like {EXAMPLE}",
        ),
        (
            '{"file_name": "../a.png", "text": "x"}',
            "file_name = ../a.png: no such picture",
            "name a picture as seen from metadata.jsonl's folder, or delete the line",
        ),
        (
            '{"file_name": "./a.png", "text": "x"}',
            "file_name = ./a.png: metadata.jsonl:1 has a caption for it too",
            "keep one of the lines",
        ),
    ],
)
def test_a_bad_line_of_metadata_is_named(folder, line, what, fix):
    put(folder, "a.png")
    put(folder, "metadata.jsonl", '{"file_name": "a.png", "text": "first"}\n' + line)
    if "not JSON" in what:  # the parser's own words differ between Python versions
        assert errors(folder).startswith("data/metadata.jsonl:2: is not JSON: ")
        assert errors(folder).endswith(f"\n  fix:     {fix}")
    else:
        assert errors(folder) == f"data/metadata.jsonl:2: {what}\n  fix:     {fix}"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_a_caption_in_utf16_without_a_mark_is_named(folder, encoding):
    put(folder, "a.png")
    put(folder, "a.txt", "rex dog".encode(encoding))
    assert errors(folder) == (
        "data/a.txt:1: holds a NUL, as text in UTF-16 does\n"
        "  fix:     save it as UTF-8 in your editor"
    )


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (
            r'{"file_name": "a.png", "text": "rex \ud83d"}',
            r"text holds half of a character, \ud83d",
        ),
        (r'{"file_name": "\udc00", "text": "rex"}', r"file_name holds half of a character, \udc00"),
        (r'{"file_name": "a.png", "text": "a\u0000b"}', r"text holds a NUL, \u0000"),
    ],
)
def test_halves_of_characters_and_nuls_in_metadata_are_named(folder, line, what):
    put(folder, "a.png")
    put(folder, "metadata.jsonl", line)
    assert errors(folder) == f"data/metadata.jsonl:1: {what}\n  fix:     write the line again"


@pytest.mark.parametrize("line", ["[" * 100_000, '{"text": ' + "[" * 100_000])
def test_metadata_nested_very_deeply_is_named(folder, line):
    put(folder, "a.png")
    put(folder, "metadata.jsonl", line)
    assert errors(folder) == (
        f"data/metadata.jsonl:1: is nested too deeply\n  fix:     write lines like {EXAMPLE}"
    )


def test_of_very_many_wrong_lines_the_first_are_told(folder):
    put(folder, "a.png")
    put(folder, "metadata.jsonl", "{}\n" * 100_000)
    told = errors(folder).splitlines()
    assert len(told) == 2 * 21
    assert told[0] == "data/metadata.jsonl:1: has no file_name"
    assert told[-2:] == [
        "data/metadata.jsonl: 99,980 more lines are wrong",
        "  fix:     correct those above first; the others often have the same mistake",
    ]


def test_a_huge_file_is_no_caption(folder):
    put(folder, "a.png")
    put(folder, "a.txt", "x" * (2**20 + 1))
    assert errors(folder) == (
        "data/a.txt: has more than 1,048,576 bytes and was not read\n"
        "  fix:     move it out of the data folder, or cut it"
    )


def test_a_number_of_any_length_beside_a_caption_is_fine(folder):
    put(folder, "a.png")
    put(folder, "metadata.jsonl", '{"file_name": "a.png", "text": "rex", "n": ' + "9" * 5000 + "}")
    assert read(folder) == {"a.png": ("rex", "metadata")}


def test_texts_that_belong_to_no_picture_are_known(folder):
    put(folder, "a.png")
    put(folder, "a.txt", "words")
    put(folder, "A.txt", "words")
    put(folder, "sub/a.txt", "words")
    assert unused(find(folder, Dataset())) == ["A.txt", "sub/a.txt"]
