"""params.yaml's key list follows from the fields; what the user wrote stays."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from lora_recipes.recipe import reference
from lora_recipes.recipe.fields import every_key, overridable_keys, runtime_keys
from lora_recipes.recipe.keylist import Updated, updated
from lora_recipes.recipe.yamlfile import read
from lora_recipes.tree import lookup
from tests.recipe.conftest import message

ROOT = Path(__file__).parent.parent.parent
SHIPPED = (ROOT / "params.yaml").read_text("utf-8")
LINES = {
    ".".join(map(str, key)): line
    for key, line in read(ROOT / "params.yaml", "params.yaml").lines.items()
}


def load(text: str) -> dict:
    return YAML(typ="safe", pure=True).load(text)


def added_lines(before: str, after: str) -> list[str]:
    """The lines that are new; fails where another one is gone."""
    changes = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    assert [line for line in changes if line.startswith("- ")] == []
    return [line[2:] for line in changes if line.startswith("+ ")]


def test_the_repositorys_own_file_is_whole():
    assert updated(SHIPPED) == Updated(SHIPPED, (), (), ())


def test_a_file_without_sections_gets_them_all_as_the_repositorys_own_has_them():
    start = "recipe: pocket-demo  # recipes/<name>.yaml\ndata: data/demo  # the folder\n"
    done = updated(start)
    assert done.text.startswith(start + "\nbase:  # which model lies under the adapter\n")
    assert done.text[len(start) :] == SHIPPED[SHIPPED.index("\nbase:") :]
    assert updated("").text == done.text[len(start) + 1 :]


@pytest.mark.parametrize("key", sorted(every_key() & LINES.keys()))
def test_a_key_that_is_missing_comes_back_in_its_place(key):
    lines = SHIPPED.splitlines(keepends=True)
    without = "".join(lines[: LINES[key] - 1] + lines[LINES[key] :])
    done = updated(without)
    assert done.text == SHIPPED
    assert done.added == (key,)


def test_every_key_was_taken_out_once():
    assert every_key() & LINES.keys() == {*overridable_keys(), *runtime_keys()}


MINE = """\
# my notes
data: pictures
recipe: mine
train:  # long
  seed: 7  # my lucky one
  # halves
  epochs: 2

  repeats:
    40
  snapshots:
    - 0.5
    # the last
    - 0.75
lora: {rank: 8, alpha: 4}  # small
sample:
compute: null  # as it is
dataset:
    template: >-
      a photo of
      {trigger}

    trigger: zwk
# the end"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_values_comments_order_and_line_ends_stay(end, mark):
    before = mark + MINE.replace("\n", end)
    done = updated(before)
    assert done.text.startswith(mark)
    assert done.text.count("\n") == done.text.count(end)
    for line in MINE.splitlines():
        if not line.startswith(("lora:", "compute:")):
            assert f"{line}{end}" in done.text
    assert "lora: {rank: 8, alpha: 4, targets: null}  # small" in done.text
    assert f"compute:  # as it is{end}  device: null  # auto, cpu, cuda or mps{end}" in done.text
    tree = load(done.text)
    assert tree["train"]["snapshots"] == [0.5, 0.75]
    keys = overridable_keys() | runtime_keys()
    assert {key for key in keys if lookup(tree, tuple(key.split("."))) is not None} == {
        "train.seed", "train.epochs", "train.repeats", "train.snapshots", "lora.rank",
        "lora.alpha", "dataset.template", "dataset.trigger", *runtime_keys(),
    }  # fmt: skip
    assert updated(done.text) == Updated(done.text, (), (), ())


def test_a_new_key_stands_behind_the_one_before_it_wherever_that_is():
    lines = updated(MINE).text.splitlines()
    assert lines[lines.index("  epochs: 2") + 1] == "  steps: null  # a number, or auto with epochs"
    assert (
        lines[lines.index("    trigger: zwk") + 1]
        == "    class_word: null  # what kind of thing it is"
    )
    assert lines[lines.index("  seed: 7  # my lucky one") + 1] == "  adafactor:"


def test_what_dvc_folded_is_one_value():
    pinned = SHIPPED.replace("manifest: null  #", f"manifest:\n    sha256:{'0' * 64}\n  #")
    line = next(line for line in SHIPPED.splitlines(keepends=True) if "trigger: null" in line)
    done = updated(pinned.replace(line, ""))
    assert added_lines(pinned.replace(line, ""), done.text) == [line.rstrip()]
    assert load(done.text) == load(pinned)


def test_a_users_comment_beside_a_key_wins():
    own = SHIPPED.replace("# the file grows with it", "# mine")
    assert updated(own).text == own
    bare = SHIPPED.replace("  # the file grows with it", "")
    assert updated(bare).text == bare


def test_what_is_no_key_any_more_goes_if_it_says_nothing_and_is_told_if_it_does():
    old = SHIPPED.replace("  targets: null", "  gone: null  # old\n  kept: 3\n  targets: null")
    old += "extra:\n  a: null\nmore: 1\n"
    done = updated(old)
    assert (done.removed, done.unknown) == (("lora.gone", "extra"), ("lora.kept", "more"))
    assert (
        done.text == SHIPPED.replace("  targets: null", "  kept: 3\n  targets: null") + "more: 1\n"
    )


def test_aliases_are_left_alone():
    told = message(lambda: updated("base: &x {model: null}\nlora: *x\n"))
    assert told.startswith("params.yaml: is written in a way that cannot be edited safely\n")


def test_the_check_names_a_params_yaml_that_lacks_a_key_and_docs_mends_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes(MINE.encode())
    reference.main([])
    reference.main(["--check"])
    whole = (tmp_path / "params.yaml").read_bytes()
    assert whole == updated(MINE).text.encode()
    (tmp_path / "params.yaml").write_bytes(whole.replace(b"  power: null\n", b""))
    with pytest.raises(SystemExit, match=r"stale: params.yaml; run "):
        reference.main(["--check"])
    (tmp_path / "params.yaml").write_bytes(whole + b"old: 1\n")
    with pytest.raises(SystemExit, match=r"params.yaml: sets what is no key: old\n"):
        reference.main([])
    assert (tmp_path / "params.yaml").read_bytes() == whole + b"old: 1\n"
