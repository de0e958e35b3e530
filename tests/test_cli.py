"""The command line itself: usage errors, and lines that only it prints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from lora_recipes import cli
from lora_recipes.machine import Device
from lora_recipes.reporting import Quiet
from lora_recipes.stages.check import before
from tests.dataset.pictures import photo, put
from tests.provenance.git import make_repository


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (["verify", "HEAD", "--nosuch"], "usage: lora-recipes verify "),
        (["plan", "too", "--much"], "usage: lora-recipes plan "),
        (["verify"], "usage: lora-recipes verify "),
        (["--nosuch"], "usage: lora-recipes [-h]"),
    ],
)
def test_a_wrong_argument_prints_its_own_commands_usage(arguments, usage, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(usage)
    for argument in arguments[2:]:
        assert argument in told.splitlines()[-1]


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The params.yaml of a project without a stage, in which this process stands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("lora_recipes.provenance.pipeline.stage_plans", lambda *_: [])
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/mine.yaml").write_text(
        "schema: 1\nname: mine\nversion: 1\ndescription: a test\n"
    )
    put(tmp_path, "data/a.png", photo(1024, 1024))
    put(tmp_path, "data/a.txt", "a photo")
    return tmp_path / "params.yaml"


SDXL = "stabilityai/stable-diffusion-xl-base-1.0"


@pytest.mark.parametrize("free", [40, 3])
def test_plan_says_what_is_to_be_fetched_of_the_base_model(
    params: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free: int
):
    disk = SimpleNamespace(free=free * 10**9 + 5)
    monkeypatch.setattr("lora_recipes.base.fetch.shutil.disk_usage", lambda _: disk)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    params.write_text("recipe: mine\ndata: data\n")
    assert cli.main(["plan"]) == (free < 14)
    out, err = capsys.readouterr()
    told = f"about 14 GB to fetch, {free} GB free"
    assert f"base model     {SDXL}: not on this machine, or not whole: {told}" in out.splitlines()
    assert ("would stop" in err) == (free < 14)
    if free < 14:
        assert err.endswith(
            "`dvc repro` would stop at this:\n"
            f"base.model = {SDXL}: {told} in {params.parent}/empty\n"
            "  fix:     free some space there, or set HF_HOME to a folder on a larger disk\n"
        )
    params.write_text("recipe: mine\ndata: data\nbase: {model: pocket}\n")
    assert cli.main(["plan"]) == 0
    assert "base model" not in capsys.readouterr().out


def test_plan_stops_at_a_base_model_that_is_missing_offline(
    params: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    params.write_text("recipe: mine\ndata: data\n")
    assert cli.main(["plan"]) == 1
    told = capsys.readouterr().err
    assert (
        "`dvc repro` would stop at this:\n"
        f"base.model = {SDXL}: not on this machine (HF_HUB_OFFLINE is set); missing at revision "
    ) in told
    assert "  fix:     where there is a network, run\n    hf download " in told


@pytest.mark.parametrize("card", [None, Device("NVIDIA H100", 80 * 2**30)])
def test_plan_says_that_the_gpu_is_not_here(
    params: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], card
):
    monkeypatch.setattr("lora_recipes.machine.nvidia_card", lambda: card)
    params.write_text("recipe: mine\ndata: data\nbase: {model: pocket}\ncompute: {device: cuda}\n")
    assert cli.main(["plan"]) == 0
    told = (
        "device         nvidia-smi finds no NVIDIA GPU here; without one, `dvc repro` stops before "
        "it encodes"
    )
    assert (told in capsys.readouterr().out.splitlines()) == (card is None)


NO_GIT = (
    "this folder is in no git repository, as after the download of a ZIP: DVC does not run here, "
    "and no commit can hold what was trained\n"
    "  fix:     `git clone` the project instead; or make this one a repository: `git init && git "
    "add -A && git commit -m start`\n"
)


def test_validate_plan_and_pin_say_that_there_is_no_git_repository(
    params: Path, capsys: pytest.CaptureFixture[str]
):
    put(params.parent, "dvc.yaml", "stages: {}\n")
    params.write_text("recipe: mine\ndata: data\nbase: {model: pocket}\n")
    assert cli.main(["plan"]) == 1
    assert capsys.readouterr().err.endswith(NO_GIT)
    assert cli.main(["validate"]) == 0
    assert capsys.readouterr().err.endswith(f"warning: {NO_GIT}")
    assert cli.main(["pin"]) == 0
    assert f"warning: {NO_GIT}" in capsys.readouterr().err


def test_plan_pin_and_the_dataset_stage_warn_of_data_that_no_commit_will_hold(
    params: Path, capsys: pytest.CaptureFixture[str]
):
    root = make_repository(params.parent)
    put(root, ".gitignore", "/data\n")
    params.write_text("recipe: mine\ndata: data\nbase: {model: pocket}\n")
    told = (
        "data is neither in git nor under DVC: nobody can train this commit again\n"
        "  fix:     dvc add data"
    )
    for command in ("plan", "pin"):
        assert cli.main([command]) == 0
        out, err = capsys.readouterr()
        assert f"warning: {told}\n" in err
    assert "`git add data.dvc params.yaml recipes/pins/" in out
    report = Quiet()
    before("dataset", root, report)
    assert report.warned == [told]
    put(root, "data.dvc", "outs: []\n")
    assert cli.main(["plan"]) == 0
    assert "neither" not in capsys.readouterr().err
