"""Columns, plurals, cut lists, and trees by dotted key."""

import doctest
import importlib
from pathlib import Path

import pytest

from lora_recipes import text
from lora_recipes.text import aligned, counted, first_few
from lora_recipes.tree import flat

PACKAGE = Path(text.__file__).parent
WITH_EXAMPLES = sorted(
    path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", ".")
    for path in PACKAGE.rglob("*.py")
    if "    >>> " in path.read_text("utf-8")
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_are_what_comes_out(name: str):
    done = doctest.testmod(importlib.import_module(name))
    assert (done.attempted > 0, done.failed) == (True, 0)


def test_columns_are_as_wide_as_their_widest_cell_and_lines_have_no_spaces_at_their_ends():
    rows = [("", "then", "now"), ("torch", "2.11", ""), ("é", "", "2.12")]
    assert aligned(rows, indent="  ") == [
        "         then  now",
        "  torch  2.11",
        "  é            2.12",
    ]
    assert aligned([]) == []


def test_a_long_last_cell_is_wrapped_below_itself_and_no_word_is_cut():
    rows = [("run", "train", "train.seed, train.learning_rate, code.train"), ("keep", "report", "")]
    assert aligned(rows, indent="  ", width=32) == [
        "  run   train   train.seed,\n"
        "                train.learning_rate,\n"
        "                code.train",
        "  keep  report",
    ]


@pytest.mark.parametrize(
    ("number", "words", "shown"),
    [
        (0, ("picture",), "0 pictures"),
        (1, ("picture",), "1 picture"),
        (12_000, ("picture",), "12,000 pictures"),
        (1.0, ("epoch",), "1 epoch"),
        (0.5, ("epoch",), "0.5 epochs"),
        (2, ("value is", "values are"), "2 values are"),
    ],
)
def test_a_number_and_its_noun_agree(number, words, shown):
    assert counted(number, *words) == shown


def test_of_a_long_list_the_rest_is_counted():
    assert first_few([], 2) == ""
    assert first_few(("a", "b"), 2) == "a, b"
    assert first_few(["a", *"b" * 1000], 1) == "a and 1,000 more"


def test_leaves_have_dotted_keys_and_a_list_is_a_leaf():
    assert flat({"a": {"b": 1, "c": {}}, "d": [1, 2]}) == {"a.b": 1, "d": [1, 2]}
    assert flat({"b": 1}, "a") == {"a.b": 1}
    assert flat("x", "hash") == {"hash": "x"}
