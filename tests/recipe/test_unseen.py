"""Texts with what nobody can see, or what is no character, in every key that takes a text."""

from __future__ import annotations

import pytest

from lora_recipes.recipe.load import resolve
from tests.recipe.conftest import message

PLACES = {
    "sample.negative_prompt": "sample: {{negative_prompt: {}}}",
    "sample.prompts": "sample: {{prompts: [{}]}}",
    "dataset.trigger": "dataset: {{trigger: {}}}",
    "dataset.template": "dataset: {{template: {}}}",
    "base.model": "base: {{model: {}}}",
    "runtime.progress": "runtime: {{progress: {}}}",
    "data": "data: {}",
}
HALF = "write the character itself, not halves of it"


@pytest.mark.parametrize("key", PLACES)
@pytest.mark.parametrize(
    ("written", "first", "fix"),
    [
        ("a\\ud800", "\\ud800", HALF),
        ("a\\ud83d\\ude00b", "\\ud83d", HALF),
        ("a\\e[31m", "\\x1b", "remove it"),
        ("a\\0b", "\\x00", "remove it"),
        ("a\\u202eb", "\\u202e", "remove it"),
    ],
)
def test_it_is_refused_before_anything_runs(project, key, written, first, fix):
    text = PLACES[key].format(f'"{written}"')
    own = "" if key == "data" else "data: data\n"
    project.file("params.yaml", f"recipe: mine\n{own}{text}\n")
    told = message(lambda: resolve(project.root)).splitlines()
    assert told[0].startswith(f"params.yaml:{2 if key == 'data' else 3}: {key} = a\\")
    assert told[1:3] == [
        "  allowed: letters that can be seen",
        f"  fix:     {fix}: it holds {first}",
    ]
    assert all(char.isprintable() for line in told for char in line)


def test_joiners_line_ends_and_emoji_are_text(project):
    project.params('sample: {prompts: ["\\U0001f600 a\\u200db\\nc"]}\n')
    assert resolve(project.root).recipe.sample.prompts == ("\U0001f600 a\u200db\nc",)
