"""A commit's own environment: exactly its lock, built once, never used half-built.

A wheel that the test writes by hand stands for the packages, so that no network is needed.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lora_recipes.errors import CannotTell
from lora_recipes.provenance.environments import find_interpreter, own_environment
from lora_recipes.reporting import Quiet

LOCK = "--no-index\n--find-links ./wheels\n# the only one\ntiny==1.0  # pinned\n"


def write_wheel(folder: Path, version: str) -> None:
    """A package `tiny` with one module that says its version."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"tiny-{version}.dist-info"
    files = {
        "tiny.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"tiny-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(name, text)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("environments") / "a project"
    write_wheel(root / "wheels", "1.0")
    (root / "requirements.lock").write_text(LOCK)
    return root


def version_in(python: Path) -> str:
    done = subprocess.run(
        [python, "-c", "import tiny; print(tiny.VERSION)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_an_environment_holds_the_locks_packages_is_built_once_and_again_if_it_is_not_whole(root):
    first = Quiet()
    python = own_environment(root, root, platform.python_version(), first)
    assert python.is_relative_to(root / ".lora/envs")
    assert version_in(python) == "1.0"
    assert f"building the commit's environment in {python.parent.parent}" in first.said
    done = subprocess.run(
        [python, "-c", "import numpy"], capture_output=True, text=True, check=False
    )
    assert "No module named 'numpy'" in done.stderr, "nothing of this environment shines through"

    again = Quiet()
    assert own_environment(root, root, None, again) == python
    assert again.said == []

    (python.parent.parent / "complete").unlink()
    next(python.parent.parent.rglob("site-packages/tiny.py")).unlink()
    assert own_environment(root, root, None, Quiet()) == python
    assert version_in(python) == "1.0"


def test_what_cannot_be_installed_is_named_with_pips_words_and_leaves_nothing(tmp_path: Path):
    (tmp_path / "requirements.lock").write_text("--no-index\ntiny==2.0\n")
    with pytest.raises(CannotTell) as error:
        own_environment(tmp_path, tmp_path, None, Quiet())
    problem = error.value.problems[0]
    assert problem.where == "requirements.lock"
    assert problem.what.startswith("requirements.lock of this commit cannot be installed:\n    ")
    assert "No matching distribution found for tiny==2.0" in problem.what
    assert problem.fix == "see that the packages can be reached, or verify without --env"
    assert [path.suffix for path in (tmp_path / ".lora/envs").iterdir()] == [".lock"]


@pytest.mark.slow
def test_a_lock_that_names_a_path_is_installed_anew_each_time(tmp_path: Path):
    write_wheel(tmp_path, "1.0")
    (tmp_path / "requirements.lock").write_text("--no-index\n./tiny-1.0-py3-none-any.whl\n")
    for _ in range(2):
        report = Quiet()
        own_environment(tmp_path, tmp_path, None, report)
        assert report.said[0].startswith("building ")


def test_a_commit_without_a_lock_has_no_environment(tmp_path: Path):
    with pytest.raises(CannotTell) as error:
        own_environment(tmp_path, tmp_path, None, Quiet())
    assert str(error.value) == (
        "requirements.lock: is not in this commit, so its libraries are not known\n"
        "  fix:     verify it without --env, with the libraries of today"
    )


def test_the_python_of_that_time_is_looked_for_and_missed_by_name(tmp_path, monkeypatch):
    other = tmp_path / "python3.99"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_interpreter(None) == Path(sys.executable)
    assert find_interpreter(platform.python_version()) == Path(sys.executable)
    assert find_interpreter("3.99.1") == other
    with pytest.raises(CannotTell) as error:
        find_interpreter("3.98.2")
    assert str(error.value) == (
        "this commit was trained with Python 3.98.2, and there is no python3.98 on the PATH\n"
        "  fix:     install Python 3.98, or verify without --env"
    )
