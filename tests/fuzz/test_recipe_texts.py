"""Recipes and params.yaml with damage in their text."""

from __future__ import annotations

import pytest
from hypothesis import example, given

from tests.fuzz.property import fuzz
from tests.fuzz.recipes import SEED, Files, damaged_projects
from tests.fuzz.resolving import hold_project


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "data").mkdir()
    (folder / "recipes").mkdir()
    return folder


@fuzz(500)
@example({**SEED, "params.yaml": SEED["params.yaml"] + "sample: &a {seeds: &a [1]}\n"})
@given(files=damaged_projects())
def test_a_damaged_recipe_is_resolved_or_refused_by_name(root, files: Files):
    hold_project(root, files)
