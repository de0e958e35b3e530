"""Stages run in an environment without surprises, and no process outlives its reason."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from lora_recipes.errors import CannotTell
from lora_recipes.git import git_environment
from lora_recipes.provenance.processes import ask, follow, stage_environment

SURROUNDINGS = {
    "DVC_ROOT": "/elsewhere",
    "DVC_STAGE": "train",
    "DVC_EXP_NAME": "x",
    "DVC_GLOBAL_CONFIG_DIR": "/home/config",
    "GIT_DIR": "/elsewhere/.git",
    "GIT_INDEX_FILE": "/elsewhere/.git/index",
    "GIT_SSH_COMMAND": "ssh -i key",
    "LORA_RECIPES_CHECKPOINTS": "/elsewhere/checkpoints",
    "PYTHONPATH": "/elsewhere",
    "PYTHONSAFEPATH": "1",
    "VIRTUAL_ENV": "/elsewhere/.venv",
    "AWS_PROFILE": "me",
}


@pytest.fixture
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SURROUNDINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.mark.usefixtures("_surroundings")
def test_a_stage_gets_none_of_what_points_elsewhere_and_all_that_the_user_needs():
    found = stage_environment(Path("/env/bin/python"), network=False)
    assert {name for name in SURROUNDINGS if name in found} == {
        "AWS_PROFILE",
        "DVC_GLOBAL_CONFIG_DIR",
        "GIT_SSH_COMMAND",
    }
    assert found["PATH"] == f"/env/bin{os.pathsep}/usr/bin"
    assert found["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in stage_environment(Path("/env/bin/python"), network=True)


@pytest.mark.usefixtures("_surroundings")
def test_git_is_not_sent_to_another_repository():
    found = git_environment()
    assert "GIT_DIR" not in found
    assert "GIT_INDEX_FILE" not in found
    assert found["GIT_SSH_COMMAND"] == "ssh -i key"


def test_every_variable_that_git_calls_local_is_left_out_but_for_settings():
    from lora_recipes.git import GIT_PLACES

    listed = ask(["git", "rev-parse", "--local-env-vars"], Path.cwd(), os.environ).out.split()
    assert {name for name in listed if not name.startswith("GIT_CONFIG")} <= GIT_PLACES | {
        "GIT_INTERNAL_SUPER_PREFIX"
    }


def test_lines_come_as_they_are_printed_and_the_last_ones_are_kept(tmp_path: Path):
    said: list[str] = []
    program = (
        "import sys\nfor n in range(40): print('line', n, flush=True)\nsys.exit('no, \\u00fc')"
    )
    done = follow([sys.executable, "-c", program], tmp_path, os.environ, said.append)
    assert said == [*(f"line {n}" for n in range(40)), "no, ü"]
    assert done.code == 1
    assert done.out.splitlines() == [*(f"line {n}" for n in range(26, 40)), "no, ü"]


def test_a_program_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(CannotTell) as error:
        ask(["no-such-program"], tmp_path, os.environ)
    assert str(error.value) == (
        "there is no program no-such-program\n  fix:     install it, then run this again"
    )


def test_when_the_caller_is_interrupted_the_programs_own_children_end_too(tmp_path: Path):
    """A stage is a child of DVC's shell, which is a child of DVC."""
    child = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); "
    program = f"import subprocess, sys; print(1, flush=True); subprocess.run([sys.executable, '-c', {child + 'print(2, flush=True); time.sleep(600)'!r}])"  # noqa: E501

    def interrupt(line: str) -> None:
        if line == "2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow([sys.executable, "-c", program], tmp_path, os.environ, interrupt)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 30
    while _is_running(pid):
        assert time.monotonic() < deadline, "the child goes on"
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
