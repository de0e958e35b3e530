"""Other systems, incomplete environments: what is missing is named, and only where it is used."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lora_recipes import stopping
from lora_recipes.__main__ import NEEDED, main, missing_package
from lora_recipes.provenance import processes

REPOSITORY = Path(__file__).resolve().parents[1]

AS_ON_WINDOWS = '''
import builtins, os, pkgutil, signal
import diffusers, lightning, peft, torch, transformers

ABSENT = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
plain = builtins.__import__

def blocked(name, values=None, *rest):
    """What lora_recipes asks for on a system that has no such module."""
    asking = str((values or {}).get("__name__", ""))
    if name.partition(".")[0] in ABSENT and asking.startswith("lora_recipes"):
        raise ModuleNotFoundError(f"{asking} imports {name}", name=name)
    return plain(name, values, *rest)

builtins.__import__ = blocked
for name in ("killpg", "getpgid", "setsid", "sched_getaffinity", "getloadavg"):
    delattr(os, name)
for name in ("SIGHUP", "SIGKILL"):
    delattr(signal, name)

import lora_recipes
found = [m.name for m in pkgutil.walk_packages(lora_recipes.__path__, "lora_recipes.")]
for name in found:
    __import__(name)
print(len(found))
'''


def test_every_module_can_be_imported_where_there_is_no_unix():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", AS_ON_WINDOWS],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_without_process_groups_an_interrupted_program_is_ended_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delattr(processes.os, "killpg")
    ended = []
    plain = subprocess.Popen.kill
    monkeypatch.setattr(
        subprocess.Popen, "kill", lambda process: (ended.append(process.args), plain(process))
    )

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    program = "import time; print(1, flush=True); time.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        processes.follow([sys.executable, "-c", program], tmp_path, {}, interrupt)
    assert ended == [[sys.executable, "-c", program]]


def test_without_sighup_a_process_still_leaves_tidily_on_sigterm(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stopping, "WISHES", [signal.SIGINT, signal.SIGTERM])
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(stopping.Stopped), stopping.at_once():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_packages_that_make_an_interpreter_the_right_one_are_those_of_pyproject():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    names = [re.split(r"[\s<>=!~;\[]", line)[0] for line in project["dependencies"]]
    imported = {"pillow": "PIL", "ruamel.yaml": "ruamel"}
    assert {imported.get(name, name) for name in names} == NEEDED


@pytest.mark.parametrize("name", ["torch", "ruamel.yaml", "PIL._imaging"])
def test_without_a_package_that_is_always_needed_the_interpreter_is_the_wrong_one(name: str):
    told = missing_package(ModuleNotFoundError(name=name))
    assert told.startswith(f"wrong interpreter: {sys.executable} is Python ")
    assert f"it has no package '{name}'\n" in told


def test_any_other_missing_package_is_named_with_the_way_to_get_it():
    assert missing_package(ModuleNotFoundError(name="tensorboard.compat")) == (
        "the package 'tensorboard' is not installed\n"
        f"  fix:     install it: {sys.executable} -m pip install tensorboard"
    )


@pytest.mark.parametrize("name", ["resource", "lora_recipes.nothing", None])
def test_what_no_environment_can_repair_is_a_bug_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, name: str | None
):
    def fail() -> int:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("lora_recipes.cli.main", fail)
    monkeypatch.setattr("gc.disable", lambda: None)
    with pytest.raises(ModuleNotFoundError):
        main()


def test_the_command_says_what_is_missing_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail() -> int:
        raise ModuleNotFoundError(name="tensorboard")

    monkeypatch.setattr("lora_recipes.cli.main", fail)
    monkeypatch.setattr("gc.disable", lambda: None)
    assert main() == 1
    assert capsys.readouterr().err.startswith("the package 'tensorboard' is not installed\n")
