"""The texts that a caption becomes are numbered, and keep what is to be kept."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from math import sqrt

import pytest

from lora_recipes.dataset.variants import text, texts
from lora_recipes.recipe.sections.caption import CaptionSettings
from lora_recipes.recipe.sections.dataset import Dataset

CAPTION = "zwk,  1toy, red cap,sea , two boats"
TAGS = ["zwk", "1toy", "red cap", "sea", "two boats"]
MARKED = "zwk, 1toy ||| red cap, sea, two boats ||| photo, sharp"


def made(caption: str, count: int = 40, **settings: object) -> list[str]:
    chosen = CaptionSettings(**({"shuffle": True} | settings))  # type: ignore[arg-type]
    return [text(caption, number, chosen) for number in range(count)]


@pytest.mark.parametrize("settings", [{}, {"keep_tokens": 2}, {"tag_dropout": 0.9}, {"seed": 7}])
def test_number_0_is_the_caption_as_written(settings):
    for caption in (CAPTION, "", "a sentence", ",, a,"):
        assert made(caption, 1, **settings) == [caption]


@pytest.mark.parametrize("kept", [0, 1, 3, 5, 9])
def test_every_other_text_is_an_order_of_the_tags_behind_those_that_are_kept(kept):
    found = [caption.split(", ") for caption in made(CAPTION, keep_tokens=kept)[1:]]
    assert all(sorted(tags) == sorted(TAGS) for tags in found)
    assert all(tags[:kept] == TAGS[:kept] for tags in found)
    assert (len({*map(tuple, found)}) > 1) == (kept < 4)


def test_all_orders_are_equally_likely():
    found = Counter(made("a, b, c", 601)[1:])
    assert set(found) == {", ".join(order) for order in permutations("abc")}
    assert max(abs(count - 100) for count in found.values()) < 4 * sqrt(100)


def test_a_mark_keeps_what_stands_before_it_and_a_second_one_what_stands_behind():
    settings = {"keep_tokens_separator": "|||", "keep_tokens": 9}
    first, *rest = made(MARKED, **settings)
    assert first == "zwk, 1toy, red cap, sea, two boats, photo, sharp"
    for caption in rest:
        tags = caption.split(", ")
        assert tags[:2] == ["zwk", "1toy"]
        assert sorted(tags[2:5]) == ["red cap", "sea", "two boats"]
        assert tags[5:] == ["photo", "sharp"]
    assert len(set(rest)) == 6
    assert len(set(made(CAPTION, **settings))) == 2, "as written, and with tidy separators"


def test_tags_are_left_out_as_often_as_asked_and_kept_ones_never():
    found = [
        caption.split(", ")
        for caption in made(CAPTION, 1001, shuffle=False, tag_dropout=0.25, keep_tokens=1)[1:]
    ]
    assert all(tags == [tag for tag in TAGS if tag in tags] for tags in found), "in their order"
    seen = Counter(tag for tags in found for tag in tags)
    assert seen["zwk"] == 1000
    for tag in TAGS[1:]:
        assert abs(seen[tag] - 750) < 4 * sqrt(1000 * 0.25 * 0.75)
    both = sum("red cap" in tags and "sea" in tags for tags in found)
    assert abs(both - 562.5) < 4 * sqrt(1000 * 0.5625 * 0.4375), "each by its own chance"


def test_all_tags_may_go_and_none():
    assert set(made(CAPTION, shuffle=False, tag_dropout=1.0)[1:]) == {""}
    assert set(made(CAPTION, tag_dropout=1.0, keep_tokens=1)[1:]) == {"zwk"}


def test_another_seed_gives_other_texts_and_the_same_one_the_same():
    assert made(CAPTION) == made(CAPTION) != made(CAPTION, seed=1)


def test_left_out_tags_move_no_order():
    whole, thinned = made(CAPTION), made(CAPTION, tag_dropout=0.5)
    for one, other in zip(whole[1:], thinned[1:], strict=True):
        assert other.split(", ") == [tag for tag in one.split(", ") if tag in other] or not other


def test_tags_may_have_another_separator_and_empty_ones_are_none():
    assert set(made("a, b; ; c", separator=";")[1:]) == {"a, b; c", "c; a, b"}


def data(**settings: object) -> Dataset:
    return Dataset(trigger="zwk", class_word="toy", caption=settings)  # type: ignore[arg-type]


def test_only_what_is_trained_on_has_several_texts():
    several = data(shuffle=True, variants=3)
    own = texts(["a, b", "c, d, e"], several, "train")
    assert len(own) == 6
    assert (own[0], own[3]) == ("a, b", "c, d, e")
    for role in ("heldout", "control"):
        assert texts(["a, b", "c, d, e"], several, role) == ("a, b",)
    assert texts(["a, b", "c, d, e"], several, "regularization") == ("a, b", "c, d, e")
    assert texts(["a, b", "c, d, e"], data(), "train") == ("a, b", "c, d, e")
    assert texts(["a sentence"], several, "train") == ("a sentence",), "nothing to shuffle"


def test_words_around_captions_are_the_subjects_alone_and_never_move():
    around = data(prefix="{trigger},", suffix="at {class_word}s' ", shuffle=True, variants=9)
    found = texts(["a, b"], around, "train")
    assert set(found) == {"zwk, a, b at toys'", "zwk, b, a at toys'"}
    assert found[0] == "zwk, a, b at toys'"
    assert texts(["a"], around, "heldout") == ("zwk, a at toys'",)
    assert texts(["a"], around, "control") == ("a",)
