"""Running git, DVC and stages: in an environment without surprises, and with no orphans.

A program gets a process group of its own. When this process is interrupted, the whole group ends,
so that no training goes on in a folder that is about to be removed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lora_recipes.errors import CannotTell
from lora_recipes.git import git_environment

DVC = (sys.executable, "-P", "-m", "dvc")
"""-P: a file of the project that is called like a package is not imported instead of it."""

DVC_ADVICE = (
    "Use `dvc push` to send",
    "To track the changes with git, run:",
    "git add ",
    "To enable auto staging, run:",
    "dvc config core.autostage",
)
"""What DVC advises after each run; after a throw-away run that would be wrong."""

LAST_LINES = 15
"""How much of a failed program's output is shown."""

DVC_PLACES = frozenset(["DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"])
"""Where the user's own DVC settings and credentials lie. All else of DVC's is about one run."""


@dataclass(frozen=True)
class Done:
    """A program that has ended."""

    code: int
    out: str
    error: str

    @property
    def first_line(self) -> str:
        """What it complained about; DVC and git say it first."""
        return self._complaints()[0].removeprefix("ERROR: ").removeprefix("fatal: ")

    @property
    def last_line(self) -> str:
        """Where a program ends up complaining, after lines of progress."""
        return self._complaints()[-1].removeprefix("ERROR: ")

    def _complaints(self) -> list[str]:
        return (self.error.strip() or self.out.strip() or "no message").splitlines()


def stage_environment(python: Path, *, network: bool) -> dict[str, str]:
    """The environment for a stage whose `python` is to be this one, and whose code is the folder's.

    Nothing that a surrounding DVC run, another checkout or this project's own switches have set
    reaches the stage. Without `network` the Hugging Face hub is not asked for a base model.
    """
    kept = {
        name: value
        for name, value in git_environment().items()
        if name in DVC_PLACES
        or not name.startswith(("DVC_", "DVCLIVE_", "LORA_RECIPES_", "PYTHON", "VIRTUAL_ENV"))
    }
    kept["PATH"] = f"{python.parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    kept["DVC_NO_ANALYTICS"] = "1"
    if not network:
        kept["HF_HUB_OFFLINE"] = "1"
    return kept


def git(root: Path, *arguments: str) -> str:
    """What git answers, without the last line end.

    Raises:
        CannotTell: git is missing or refuses; its first line.
    """
    done = ask_git(root, *arguments)
    if done.code:
        raise CannotTell.of(
            what=f"git {arguments[0]} failed: {done.first_line}",
            fix="run this in the project's folder, inside its git repository",
        )
    return done.out.rstrip("\n")


def ask_git(root: Path, *arguments: str) -> Done:
    """Run git without hooks; the caller looks at the exit code."""
    command = ["git", "-c", f"core.hooksPath={os.devnull}", *arguments]
    return ask(command, root, git_environment())


def ask(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> Done:
    """Run a program to its end and keep what it says."""
    with _started(command, folder, environment, stderr=subprocess.PIPE) as process:
        out, error = process.communicate()
    return Done(process.returncode, out, error)


def follow(
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str],
    say: Callable[[str], None],
) -> Done:
    """Run a program and pass each line on as it comes; `out` keeps the last lines."""
    last: deque[str] = deque(maxlen=LAST_LINES)
    with _started(command, folder, environment, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() and not line.strip().startswith(DVC_ADVICE):
                last.append(line.rstrip())
                say(last[-1])
        process.wait()
    return Done(process.returncode, "\n".join(last), "")


@contextmanager
def _started(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str], stderr: int
) -> Iterator[subprocess.Popen[str]]:
    try:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise CannotTell.of(
            what=f"there is no program {error.filename}", fix="install it, then run this again"
        ) from error
    try:
        with process:
            yield process
    except BaseException:
        _end(process)
        process.wait()
        raise


def _end(process: subprocess.Popen[str]) -> None:
    """End a program at once, with all that it started where there are process groups."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:  # Windows
        process.kill()
