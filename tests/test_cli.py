"""The command line itself: usage errors, and lines that only it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_recipes import cli
from lora_recipes.machine import Device
from tests.dataset.pictures import photo, put


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


def test_plan_says_that_the_base_model_is_not_here(
    params: Path, capsys: pytest.CaptureFixture[str]
):
    params.write_text("recipe: mine\ndata: data\n")
    assert cli.main(["plan"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "stages",
        "base model  stabilityai/stable-diffusion-xl-base-1.0: not on this machine, or not "
        "whole; resolve downloads it or, offline, fails",
    ]
    params.write_text("recipe: mine\ndata: data\nbase: {model: pocket}\n")
    assert cli.main(["plan"]) == 0
    assert "base model" not in capsys.readouterr().out


@pytest.mark.parametrize("card", [None, Device("NVIDIA H100", 80 * 2**30)])
def test_plan_says_that_the_gpu_is_not_here(
    params: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], card
):
    monkeypatch.setattr("lora_recipes.machine.nvidia_card", lambda: card)
    params.write_text("recipe: mine\ndata: data\nbase: {model: pocket}\ncompute: {device: cuda}\n")
    assert cli.main(["plan"]) == 0
    told = (
        "device   nvidia-smi finds no NVIDIA GPU here; without one, `dvc repro` stops before "
        "it encodes"
    )
    assert (told in capsys.readouterr().out.splitlines()) == (card is None)
