"""Files that a YAML reader stumbles over: each is one named error with its line."""

from __future__ import annotations

import pytest

from lora_recipes.cli import main
from lora_recipes.errors import UserError
from lora_recipes.recipe.load import resolve
from lora_recipes.recipe.resolved import read_value
from lora_recipes.recipe.yamlfile import read
from tests.recipe.conftest import message

PLAIN = "  allowed: a text, a number, true or false, a list\n"
REMOVE_TAG = "  fix:     remove the tag (!!…) if there is one, or put it into quotes as a text"
DEEP = (
    "  allowed: 50 levels\n"
    "  fix:     remove the inner brackets or lines; a recipe needs three levels"
)
DIGITS = (
    "  allowed: 400 digits\n"
    "  fix:     write a shorter number, or put it into quotes if it is meant as text"
)
HOLDS_ITSELF = (
    "x.yaml:{}: a value holds itself\n"
    "  fix:     remove the alias (*name) that stands inside its own anchor (&name)"
)
MERGE = (
    "x.yaml:{}: << merges mappings in YAML 1.1 only\n"
    "  allowed: YAML 1.2\n"
    "  fix:     remove the line and write the keys out; a recipe takes others in with `extends`"
)


def _key(kind, line):
    return (
        f"x.yaml:{line}: a key is {kind}\n  allowed: a name\n"
        "  fix:     put the key into quotes, or the brackets after the colon"
    )


CASES = [
    (
        "a: 1\nseed: 2001-99-99\n",
        f"x.yaml:2: 2001-99-99 cannot be read as a date\n{PLAIN}{REMOVE_TAG}",
    ),
    (
        "seed: 2001-12-14t99:99:99Z\n",
        f"x.yaml:1: 2001-12-14t99:99:99Z cannot be read as a date\n{PLAIN}{REMOVE_TAG}",
    ),
    ("a: !!int x\n", f"x.yaml:1: x cannot be read as a number\n{PLAIN}{REMOVE_TAG}"),
    ('a: !!int ""\n', f"x.yaml:1: '' cannot be read as a number\n{PLAIN}{REMOVE_TAG}"),
    (
        "a:\n" + "- 1\n" * 200_000,
        "x.yaml: holds more than 10000 values\n  fix:     put the right file there",
    ),
    ("a: !!float x\n", f"x.yaml:1: x cannot be read as a number\n{PLAIN}{REMOVE_TAG}"),
    ("a: !!bool x\n", f"x.yaml:1: x cannot be read as a bool\n{PLAIN}{REMOVE_TAG}"),
    ("a: " + "9" * 5000, f"x.yaml:1: a number has 5,000 digits\n{DIGITS}"),
    ("a: 0x" + "f" * 5000, f"x.yaml:1: a number has 5,002 digits\n{DIGITS}"),
    ("a: 0b" + "1" * 20000, f"x.yaml:1: a number has 20,002 digits\n{DIGITS}"),
    ("b: 1\na: &a [*a]\n", HOLDS_ITSELF.format(2)),
    ("lora3: &z {z: *z}\n", HOLDS_ITSELF.format(1)),
    ("a: " + "[" * 900, f"x.yaml:1: is nested too deeply\n{DEEP}"),
    (
        "".join("  " * n + "a:\n" for n in range(900)),
        f"x.yaml:27: is nested too deeply\n{DEEP}",
    ),
    ("? [a, b]\n: c\n", _key("a list", 1)),
    ("b: 1\n[a]: b\n", _key("a list", 2)),
    ("{a: 1}: b\n", _key("a mapping", 1)),
    ("a: 1\n<<: {lora: {rank: 3}}\n", MERGE.format(2)),
    ("<<: &q {<<: *q}\n", MERGE.format(1)),
]


@pytest.mark.parametrize(("written", "told"), CASES, ids=[text[:20] for text, _ in CASES])
def test_each_is_one_named_error_in_a_recipe_and_in_resolved_yaml(project, written, told):
    path = project.file("x.yaml", written)
    assert message(lambda: read(path, "x.yaml")) == told
    project.file("resolved.yaml", written)
    with pytest.raises(UserError) as caught:
        read_value(project.root, "train.seed")
    assert str(caught.value) == told.replace("x.yaml", "resolved.yaml")


def test_a_file_too_large_for_a_recipe_is_refused_before_it_is_read(project):
    path = project.file("x.yaml", "")
    with path.open("wb") as file:
        file.truncate(100 * 2**30)  # takes no room
    assert message(lambda: read(path, "x.yaml")) == (
        "x.yaml: has more than 1,048,576 bytes, and is no recipe\n"
        "  fix:     put the right file there"
    )


def test_a_file_that_was_changed_is_read_again(project):
    path = project.file("x.yaml", "a: 1\n")
    assert read(path, "x.yaml").data == {"a": 1}
    project.file("x.yaml", "a: 2\n")
    assert read(path, "x.yaml").data == {"a": 2}


def test_a_wide_file_of_aliases_is_no_cycle(project):
    path = project.file("x.yaml", "a: &a [1]\nb: [*a, *a]\n")
    assert read(path, "x.yaml").data == {"a": [1], "b": [[1], [1]]}


def test_an_empty_list_of_fixed_length_is_told(project):
    project.params("train: {adafactor: {eps: []}}\n")
    assert message(lambda: resolve(project.root)).startswith("params.yaml:3: train.adafactor.eps")


def test_the_first_twenty_problems_are_printed_and_how_many_more(project, monkeypatch, capsys):
    project.params("lora:\n" + "".join(f"  qx{n}: 1\n" for n in range(3000)))
    monkeypatch.chdir(project.root)
    assert main(["validate"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if "is not a key" in line]) == 20
    assert lines[-1] == "2,980 more: fix these first"


def test_a_base_model_without_end_is_refused_and_not_printed_whole(project):
    project.params("base: {model: " + "x" * 100_000 + "}\n")
    assert message(lambda: resolve(project.root)) == (
        f"params.yaml:3: base.model = {'x' * 40}… (100,000 letters)\n"
        "  allowed: a text\n"
        "  fix:     write at most 4,096 letters"
    )
