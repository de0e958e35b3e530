"""A stranger's recipe reaches other keys and nothing else: least of all the environment."""

from __future__ import annotations

import pytest

from lora_recipes.errors import UserError
from lora_recipes.recipe.load import resolve, validate_recipe
from lora_recipes.recipe.params import runtime
from lora_recipes.reporting import Quiet
from lora_recipes.stages import resolve as stage
from tests.recipe.conftest import message

SECRET = "hf_SECRETTOKEN123"
OTHERS = [
    "${${dataset.trigger}:HF_TOKEN}",
    "${oc.${dataset.trigger}:HF_TOKEN}",
    "${oc.${.trigger}:HF_TOKEN}",
    "${oc.dict.values:train}",
    "${oc.create:[a]}",
    "${oc.select:dataset.trigger}",
    "${oc.deprecated:dataset.trigger}",
    "${${dataset.trigger}}",
    "${dataset.${dataset.trigger}}",
    "${.trigger}",
    "${..train.seed}",
    "${dataset[trigger]}",
    "${[dataset].trigger}",
    "${sample.seeds[0]}",
    "a ${train.seed} and ${nothing:x}",
    "\\\\${oc.select:train.seed}",
]


@pytest.fixture(autouse=True)
def _token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)


@pytest.mark.parametrize("written", OTHERS)
@pytest.mark.parametrize("trigger", ["env", "oc.env"])
def test_nothing_but_another_key_is_reached_from_a_recipe(project, written, trigger):
    project.recipe(f"dataset:\n  trigger: {trigger}\n  template: '{written}'\n")
    expected = (
        f"recipes/mine.yaml:7: dataset.template = {written}\n"
        "  allowed: ${section.key} for another key's value; nothing else can be reached\n"
        "  fix:     write the value itself, or name the key whole, as ${train.seed}"
    )
    assert message(lambda: validate_recipe(project.root, "mine")) == expected
    assert message(lambda: stage.run(project.root, Quiet())) == expected
    assert [path.name for path in project.root.rglob("*") if path.is_file()] == [
        *["params.yaml", "mine.yaml"]
    ]


@pytest.mark.parametrize("written", ["${oc.env:HF_TOKEN}", "${oc.decode:${oc.env:HF_TOKEN}}"])
def test_the_environment_is_not_printed_where_runtime_takes_a_wrong_value_from_it(project, written):
    project.params(f"runtime: {{progress: '{written}'}}\n")
    told = message(lambda: resolve(project.root))
    assert told.startswith(f"params.yaml:3: runtime.progress = {written}, which is a text here\n")
    assert SECRET not in told
    assert SECRET not in message(lambda: runtime(project.root))


@pytest.mark.parametrize(
    "written", ["${oc.env:${data}}", "${oc.decode:x}", "${oc.decode:${oc.env:A,${data}}}", "${.x}"]
)
def test_under_runtime_the_environment_is_named_and_nothing_is_put_together(project, written):
    project.params(f"runtime: {{workers: '{written}'}}\n")
    assert message(lambda: resolve(project.root)) == (
        f"params.yaml:3: runtime.workers = {written}\n"
        "  allowed: ${section.key} for another key's value, ${oc.env:NAME} or "
        "${oc.decode:${oc.env:NAME}}; nothing else can be reached\n"
        "  fix:     write the value itself, or name the key whole, as ${train.seed}"
    )


@pytest.mark.parametrize("text", ["${" * 900, "${train.seed}" * 900])
def test_interpolations_without_end_are_refused(project, text):
    project.params(f"dataset: {{template: '{text}'}}\n")
    assert message(lambda: resolve(project.root)) == (
        f"params.yaml:3: dataset.template is a text of {len(text):,} letters with 900 ${{\n"
        "  allowed: ${section.key} for another key's value\n"
        "  fix:     keep to 4,096 letters and 20 of ${section.key}"
    )


def test_a_key_under_runtime_hands_nothing_on_to_a_recipe(project):
    project.params("runtime: {progress: '${oc.env:HF_TOKEN}'}\n")
    project.recipe("dataset: {trigger: '${runtime.progress}'}\n")
    with pytest.raises(UserError) as caught:
        resolve(project.root)
    assert SECRET not in str(caught.value)
