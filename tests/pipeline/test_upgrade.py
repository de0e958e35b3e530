"""A new release whose new keys nobody uses retrains nobody, and changes no adapter."""

from __future__ import annotations

import json

import pytest

from .project import Project, make_project

NEW_KEYS = '''    throw_away: Annotated[int, Field(ge=0), Off(0), HeaderField("ss_throw_away")] = 0
    """A key of the next release. 0 is off."""

    of_the_throw_away: Annotated[float, BelongsTo("train.throw_away", (1, 2))] = 0.5
    """A key that belongs to it."""

    repeats: Annotated'''

RUNTIME_KEY = '''    loud: bool = False
    """Whether it is loud."""

    progress: '''

SAMPLE_KEY = "    tone: Annotated[int, Off(0)] = 0\n\n    strength: "

NEXT_RELEASE = [
    ("recipe/sections/train.py", "    repeats: Annotated", NEW_KEYS),
    ("recipe/sections/runtime.py", "    progress: ", RUNTIME_KEY),
    ("recipe/sections/sample.py", "    strength: ", SAMPLE_KEY),
    ("train/checkpoints.py", 'fix="', 'fix="please '),
    ("errors.py", "  fix:     ", "  do:      "),
]

IDENTITIES = """
import json
from pathlib import Path
from lora_recipes.adapter.metadata import build
from lora_recipes.stages.train import read_recipe
recipe = read_recipe(Path.cwd())
header = build(recipe.sections(), recipe.base_identity, "sha256:0", images=8, steps=3)
print(json.dumps([header, recipe.settings()]))
"""


def identities(project: Project) -> tuple[dict[str, str], dict[str, object]]:
    """What the project's own code writes into a header, and the settings in the fingerprint."""
    return tuple(json.loads(project.run("python", "-c", IDENTITIES).stdout))


def tracked(project: Project) -> dict[str, object]:
    """dvc.lock without what resolve ran on."""
    return {name: stage for name, stage in project.lock().items() if name != "resolve"}


def changed(project: Project) -> set[str]:
    """The stages for which DVC finds anything to do."""
    return set(json.loads(project.run("dvc", "status", "--json").stdout))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = make_project(tmp_path_factory.mktemp("upgrade") / "a project", {}, stand_ins=True)
    made.repro()
    made.commit("this release")
    return made


def test_an_upgrade_with_new_keys_reruns_resolve_alone_and_using_one_retrains(project: Project):
    resolved, lock = (project.root / "resolved.yaml").read_bytes(), tracked(project)
    header, settings = identities(project)
    assert changed(project) == set()

    for file, old, new in NEXT_RELEASE:
        project.edit(f"lora_recipes/{file}", old, new)
    assert changed(project) == {"resolve"}
    assert project.repro() == ["resolve"]
    assert (project.root / "resolved.yaml").read_bytes() == resolved
    assert tracked(project) == lock
    assert identities(project) == (header, settings)
    project.commit("the next release")

    project.edit("params.yaml", "\ntrain:", "\ntrain:\n  throw_away: 2  #")
    assert project.repro() == ["resolve", "train", "sample", "report"]
    used, _ = identities(project)
    assert used["ss_throw_away"] == "2"
    there = json.loads(used["lora_recipes.train"])
    assert (there["throw_away"], there["of_the_throw_away"]) == (2, 0.5)
    assert used["lora_recipes.hash"] != header["lora_recipes.hash"]
