"""Reading YAML: lines of keys, and mistakes in plain words."""

from __future__ import annotations

import os

import pytest

from lora_recipes.errors import Place, UserError
from lora_recipes.recipe.yamlfile import dotted, read
from tests.recipe.conftest import message


def test_every_key_and_list_item_knows_its_line(project):
    path = project.file("x.yaml", "a: 1\nb:\n  c:\n    - x\n    - y\n  d: {e: 2}\n")
    source = read(path, "x.yaml")
    assert source.data == {"a": 1, "b": {"c": ["x", "y"], "d": {"e": 2}}}
    places = {dotted(key): line for key, line in source.lines.items()}
    assert places == {"a": 1, "b": 2, "b.c": 3, "b.c[0]": 4, "b.c[1]": 5, "b.d": 6, "b.d.e": 6}
    assert source.where(("b", "d", "missing")) == Place("x.yaml", 6)
    assert source.where(("missing",)) == Place("x.yaml")


def test_numbers_are_read_as_yaml_1_2_has_them(project):
    path = project.file("x.yaml", "a: 1e-4\nb: on\nc: 017\nd: 0o17\ne: 1:30\nf: true\n")
    assert read(path, "x.yaml").data == {
        "a": 1e-4, "b": "on", "c": 17, "d": 15, "e": "1:30", "f": True,
    }  # fmt: skip


def test_a_byte_order_mark_and_windows_line_ends_are_fine(project):
    path = project.file("x.yaml", b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    source = read(path, "x.yaml")
    assert (source.data, source.where(("b",))) == ({"a": 1, "b": 2}, Place("x.yaml", 2))


def test_a_named_pipe_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "x.yaml")
    with pytest.raises(UserError) as caught:
        read(tmp_path / "x.yaml", "recipes/x.yaml")
    assert str(caught.value) == (
        "recipes/x.yaml: is not an ordinary file\n  fix:     put the file itself there"
    )


def test_an_empty_file_is_an_empty_mapping(project):
    assert read(project.file("x.yaml", "# nothing\n"), "x.yaml").data == {}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            "a: 1\nb:\n  c: 1\n  c: 2\n",
            "x.yaml:4: is not YAML: c stands here twice\n  fix:     keep one of the two",
        ),
        (
            "a:\n\tb: 1\n",
            "x.yaml:2: is not YAML: there is a tab\n  fix:     write spaces, not tabs",
        ),
        (
            "a:\n  b: {trigger} on a beach  # x\n  c: 1\n",
            "x.yaml:2: is not YAML: a text that starts with { is not quoted\n"
            '  fix:     write `b: "{trigger} on a beach"`',
        ),
        (
            "a: b: c\n",
            "x.yaml:1: is not YAML: there is a second colon\n"
            "  fix:     quote a text that holds a colon, and give each key a line of its own",
        ),
        (
            "a:\n  b: 1\n  c:2\nd: 3\n",
            "x.yaml:3: is not YAML: there is no space after the colon\n  fix:     write `c: 2`",
        ),
        (
            "b:1\nc: 2\n",
            "x.yaml:1: is not YAML: there is no space after the colon\n  fix:     write `b: 1`",
        ),
        (
            "a:\n  c:2 # two\n\n  # more\n  d: 3\n",
            "x.yaml:2: is not YAML: there is no space after the colon\n  fix:     write `c: 2`",
        ),
        (
            "a\n  b: 1\n",
            "x.yaml:1: is not YAML: there is no colon\n  fix:     write `a:`",
        ),
        (
            "a:\n  b 1\n  c: 2\n",
            "x.yaml:2: is not YAML: there is no colon\n  fix:     write `b: 1`",
        ),
        (
            "a: 1\n b:\n  c: 2\n",
            "x.yaml:2: is not YAML: its indentation, 1 space, does not fit the lines above it\n"
            "  fix:     indent all keys of a section alike, and more than the section's name",
        ),
        (
            "a:\n   b: 1\n  c: 2\n",
            "x.yaml:3: is not YAML: its indentation, 2 spaces, does not fit the lines above it\n"
            "  fix:     indent all keys of a section alike, and more than the section's name",
        ),
        (
            " a: 1\nb: 2\n",
            "x.yaml:2: is not YAML: its indentation, 0 spaces, does not fit the lines above it\n"
            "  fix:     indent all keys of a section alike, and more than the section's name",
        ),
        (
            "a: 1\nb: *c\n",
            "x.yaml:2: is not YAML: found undefined alias 'c'\n"
            "  fix:     quote a text that starts with *",
        ),
        (
            "a: !!python/object:os.system x\n",
            "x.yaml:1: is not YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object:os.system'\n"
            "  fix:     remove the tag, or quote a text that starts with !",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "x.yaml:2: is not YAML: but found another document\n"
            "  fix:     keep one document: remove the line with ---",
        ),
        (
            "a: @x\n",
            "x.yaml:1: is not YAML: found character '@' that cannot start any token\n"
            "  fix:     quote the text",
        ),
        (
            "- a\n- b\n",
            "x.yaml:1: the file is a list\n"
            "  allowed: `key: value` lines\n"
            "  fix:     start from one of the shipped recipes",
        ),
        (
            "a: 1\nb: 2020-01-02\n",
            "x.yaml:2: b = 2020-01-02 is read as a date\n"
            "  allowed: a text, a number, true or false, a list\n"
            "  fix:     put it into quotes if it is meant as text",
        ),
        (
            "a:\n  b: !!set {x}\n",
            "x.yaml:2: a.b = {'x'} is read as a set\n"
            "  allowed: a text, a number, true or false, a list\n"
            "  fix:     put it into quotes if it is meant as text",
        ),
        (
            "a:\n  1: x\n",
            "x.yaml:2: the key 1 is read as a number\n"
            "  allowed: a name\n"
            "  fix:     put it into quotes if it is meant as text",
        ),
        (
            "%YAML 1.1\n---\na: on\n",
            "x.yaml:1: asks for another YAML: %YAML 1.1\n"
            "  allowed: YAML 1.2, as DVC reads it\n"
            "  fix:     remove the line",
        ),
        (b"a: 1\nb: \xff\n", "x.yaml:2: is not UTF-8 text\n  fix:     save the file as UTF-8"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_its_fix(project, written, told):
    path = project.file("x.yaml", written)
    assert message(lambda: read(path, "x.yaml")) == told


def test_a_control_character_is_named_with_its_line(project):
    path = project.file("x.yaml", "a: 1\nb: x\x01y\n")
    assert message(lambda: read(path, "x.yaml")) == (
        "x.yaml:2: is not YAML: the character 0x01\n  fix:     remove the character"
    )


def test_a_file_that_is_missing_is_named(project):
    assert message(lambda: read(project.root / "none.yaml", "none.yaml")) == (
        "none.yaml: is missing\n  fix:     run this in the project's folder"
    )


def test_aliases_that_multiply_are_stopped(project):
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 7)]
    path = project.file("x.yaml", "\n".join(levels))
    assert message(lambda: read(path, "x.yaml")) == (
        "x.yaml: holds more than 10000 values\n"
        "  fix:     remove the aliases (*name) that multiply them"
    )
