"""A data folder that is not there is named by the first command, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_recipes.cli import main
from lora_recipes.reporting import Quiet
from lora_recipes.stages import resolve as stage
from tests.recipe.conftest import message

PLAIN = "write the path of the folder that holds your images"


@pytest.mark.parametrize(
    ("written", "what", "fix"),
    [
        ("data/clok", "no such folder", "did you mean data/clock?"),
        ("data/nothing", "no such folder", PLAIN),
        ("nowhere/at/all", "no such folder", PLAIN),
        ("data/dog", "the images are not here yet", "dvc pull data/dog"),
        ("data/dog/", "the images are not here yet", "dvc pull data/dog"),
        ("data/dogg", "no such folder", "did you mean data/dog?"),
        ("~/pics", "no such folder", f"write the whole path: {Path.home().as_posix()}/pics"),
        ("data/a.txt", "is a file, not a folder", PLAIN),
    ],
)
def test_validate_and_resolve_say_what_is_wrong_with_it(  # noqa: PLR0917
    project, monkeypatch, capsys, written, what, fix
):
    (project.root / "data/clock").mkdir()
    project.file("data/dog.dvc", "outs: []\n")
    project.file("data/a.txt", "x")
    project.file("params.yaml", f"recipe: mine\n\ndata: {written}\n")
    told = f"params.yaml:3: data = {written}: {what}\n  fix:     {fix}"
    assert message(lambda: stage.run(project.root, Quiet())) == told
    assert not (project.root / "resolved.yaml").exists()
    monkeypatch.chdir(project.root)
    assert main(["validate"]) == 1
    assert capsys.readouterr().err == told + "\n"


def test_a_name_too_long_for_a_folder_is_told(project):
    project.file("params.yaml", f"recipe: mine\ndata: {'x' * 300}\n")
    assert message(lambda: stage.run(project.root, Quiet())).startswith("params.yaml:2: data = xxx")
