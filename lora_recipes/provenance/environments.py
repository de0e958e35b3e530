"""A commit's own libraries: a virtual environment made from its requirements.lock, and kept.

`.lora/envs/<key>/` holds one environment per lock, Python and kind of machine. The mark that it
is complete is written last: one that was left half-built is built again.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from pathlib import Path

from filelock import FileLock

from lora_recipes.errors import CannotTell
from lora_recipes.files import own_folder, write_text
from lora_recipes.hashing import digest, sha256_file
from lora_recipes.provenance.processes import ask, follow, stage_environment
from lora_recipes.reporting import Reporter

COMPLETE = "complete"
"""The file that says that everything is installed."""

PINNED = re.compile(r"[A-Za-z0-9._-]+(\[[A-Za-z0-9._,-]+\])?\s*==|--(?!requir|edit|constr)")
"""A line that always means the same packages, as a path, a range or another file does not."""


def own_environment(root: Path, commit: Path, version: str | None, report: Reporter) -> Path:
    """The `python` of an environment with exactly the packages of a commit's requirements.lock.

    Args:
        root: the user's project, whose `.lora/envs` keeps it.
        commit: the project's folder in the commit's worktree.
        version: the Python that the commit's training ran on, `3.11.7`, if it says.
        report: hears what pip does.

    Raises:
        CannotTell: the commit has no requirements.lock, its Python is not on this machine, or a
            package cannot be installed; pip's last lines.
    """
    lock = commit / "requirements.lock"
    if not lock.is_file():
        raise CannotTell.of(
            where="requirements.lock",
            what="is not in this commit, so its libraries are not known",
            fix="verify it without --env, with the libraries of today",
        )
    interpreter = find_interpreter(version)
    folder = own_folder(root) / "envs" / _key(lock, interpreter)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not _is_complete(folder, lock):
            shutil.rmtree(folder, ignore_errors=True)
            report.say(f"building the commit's environment in {folder}")
            _build(folder, lock, interpreter, report)
    return _python(folder)


def find_interpreter(version: str | None) -> Path:
    """A Python of the same minor version: this one, or `pythonX.Y` on the PATH.

    Raises:
        CannotTell: there is none.
    """
    minor = ".".join((version or platform.python_version()).split(".")[:2])
    if minor == ".".join(platform.python_version_tuple()[:2]):
        return Path(sys.executable)
    found = shutil.which(f"python{minor}")
    if found is None:
        raise CannotTell.of(
            what=f"this commit was trained with Python {version}, "
            f"and there is no python{minor} on the PATH",
            fix=f"install Python {minor}, or verify without --env",
        )
    return Path(found)


def _key(lock: Path, interpreter: Path) -> str:
    version = ask([interpreter, "-VV"], lock.parent, stage_environment(interpreter, network=False))
    parts = [sha256_file(lock), str(interpreter.resolve()), version.out, platform.machine()]
    return digest(parts).removeprefix("sha256:")[:16]


def _is_complete(folder: Path, lock: Path) -> bool:
    """Whether it can be used as it is; never if the lock names anything that may have changed."""
    lines = [line.partition(" #")[0].strip() for line in lock.read_text("utf-8").splitlines()]
    pinned = all(PINNED.match(line) for line in lines if line and not line.startswith("#"))
    return pinned and (folder / COMPLETE).is_file() and _python(folder).exists()


def _build(folder: Path, lock: Path, interpreter: Path, report: Reporter) -> None:
    environment = stage_environment(interpreter, network=True)
    steps: list[tuple[str, list[str | Path]]] = [
        ("a virtual environment cannot be made", [interpreter, "-m", "venv", folder]),
        (
            "requirements.lock of this commit cannot be installed",
            [_python(folder), "-m", "pip", "install", "--disable-pip-version-check",
             "--no-input", "--progress-bar", "off", "-r", lock],
        ),
    ]  # fmt: skip
    for what, command in steps:
        done = follow(command, lock.parent, environment, report.say)
        if done.code:
            shutil.rmtree(folder, ignore_errors=True)
            raise CannotTell.of(
                where=lock.name,
                what=f"{what}:\n    " + done.out.replace("\n", "\n    "),
                fix="see that the packages can be reached, or verify without --env",
            )
    write_text(folder / COMPLETE, sha256_file(lock) + "\n")


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
