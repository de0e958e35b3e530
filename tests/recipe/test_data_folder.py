"""A data folder that is not there is named by the first command, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_recipes.cli import main
from lora_recipes.dataset.pin import look
from lora_recipes.plan.preflight import preflight
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.reporting import Quiet
from lora_recipes.stages import resolve as stage
from tests.recipe.conftest import message

PLAIN = "write the path of the folder with your images"
SETS = "write one of them: data/clock, data/dog"
COPY = (
    "copy the pictures into data/dog from where they are: .dvc/config names no remote to "
    "`dvc pull` them from, and DVC's cache does not hold them"
)


@pytest.mark.parametrize(
    ("written", "what", "fix"),
    [
        ("data/clok", "no such folder", "did you mean data/clock?"),
        ("data/nothing", "no such folder", PLAIN),
        ("nowhere/at/all", "no such folder", PLAIN),
        ("data/dog", "the images are not here yet", COPY),
        ("data/dog/", "the images are not here yet", COPY),
        ("data", "holds data sets, of which one is trained on", SETS),
        ("clock", "no such folder", "did you mean data/clock?"),
        (r"data\clock", "no such folder", "write data/clock"),
        (
            r"C:\Users\me\pics",
            "no such folder",
            "a Windows path is none here: copy the pictures into data/<name> and write that; under "
            "WSL, write /mnt/c/Users/me/pics",
        ),
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


def where_from(project) -> str:
    """The fix for pictures that DVC keeps and that are not here; of all commands the same."""
    project.file("params.yaml", "recipe: mine\ndata: data/dog\n")
    told = message(lambda: stage.run(project.root, Quiet()))
    head = "params.yaml:2: data = data/dog: the images are not here yet\n  fix:     "
    assert told.startswith(head)
    assert [told] == [str(each) for each in preflight(project.root, Dataset(), Prepare()).problems]
    assert message(lambda: look(project.root, Dataset(), Quiet())) == told
    return told.removeprefix(head)


def test_pictures_that_dvc_keeps_come_from_where_they_are(project):
    listing, picture = "0a" + "1" * 30 + ".dir", "0b" + "2" * 30
    project.file("data/dog.dvc", f"outs:\n- md5: {listing}\n  path: dog\n")
    assert where_from(project) == COPY
    project.file(f".dvc/cache/files/md5/0a/{listing[2:]}", f'[{{"md5": "{picture}"}}]')
    assert where_from(project) == COPY
    project.file(f".dvc/cache/files/md5/0b/{picture[2:]}", "x")
    (project.root / "data/dog").mkdir()  # empty: as good as none
    assert where_from(project) == "dvc checkout data/dog"
    project.file(".dvc/config", "['remote \"my store\"']\n    url = /store\n")
    assert where_from(project) == "dvc pull -r 'my store' data/dog"
    project.file(".dvc/config.local", "[core]\n    remote = my store\n")
    assert where_from(project) == "dvc pull data/dog"
