"""Recipes and params.yaml by structure: `validate`, `resolve` and what stages read back."""

from __future__ import annotations

import pytest
from hypothesis import example, given

from tests.fuzz.property import fuzz
from tests.fuzz.recipes import HEAD, PARAMS, Files, projects
from tests.fuzz.resolving import hold_project


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "data").mkdir()
    (folder / "recipes").mkdir()
    return folder


def written(params: str, recipe: str = "") -> Files:
    return {
        "recipes/mine.yaml": HEAD.format("mine") + recipe,
        "params.yaml": f"{PARAMS}base: {{model: pocket}}\n{params}",
    }


@fuzz(4500)
@example(written("runtime: {progress: '${ oc.env:HF_TOKEN}'}\n"))
@example(written("runtime: {progress: '${oc.env:HF_TOKEN}', workers: '${runtime.progress}'}\n"))
@example(written('"\\ud800\\udc00": 1\n'))
@example(written("seed: !!int ''\n"))
@example(written('sample: {size: "\\n  FORGED: all is well"}\n'))
@example(written('"\\nFORGED: all is well": 1\n', 'extends: "\\nFORGED: all is well"\n'))
@given(files=projects())
def test_a_recipe_is_resolved_or_refused_by_name(root, files: Files):
    hold_project(root, files)
