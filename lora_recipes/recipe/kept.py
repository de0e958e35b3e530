"""Whether anybody will get the data again: are they in git, or under DVC?

No stage's code hash covers this module: it warns, and changes no byte.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from lora_recipes.errors import Problem
from lora_recipes.git import git_environment
from lora_recipes.text import counted, first_few

NAMED = 3
"""Files that a message names before it says how many more there are."""


def no_git(root: Path) -> Problem | None:
    """What to do where there is no git repository, as in a project that came as a ZIP."""
    here = root.resolve()
    if not (here / "dvc.yaml").is_file() or any(
        (folder / ".git").exists() for folder in (here, *here.parents)
    ):
        return None
    return Problem(
        what="this folder is in no git repository, as after the download of a ZIP: DVC does not "
        "run here, and no commit can hold what was trained",
        fix="`git clone` the project instead; or make this one a repository: "
        "`git init && git add -A && git commit -m start`",
    )


def unkept(root: Path, folder: Path) -> Problem | None:
    """Data that no commit will hold. What git has yet to add but does not ignore is none."""
    name, quoted = _shown(root, folder), shlex.quote(_shown(root, folder))
    lost = "nobody can train this commit again"
    if not _git(root, "rev-parse", "--git-dir") or _under_dvc(root, folder):
        return None
    if not folder.resolve().is_relative_to(root.resolve()):
        inside = shlex.quote(f"data/{folder.resolve().name}")
        return Problem(
            what=f"{name} lies outside this project, neither in git nor under DVC: {lost}",
            fix=f"copy it here, name it as `data:` in params.yaml, and `dvc add {inside}`",
        )
    ignored = _git(root, "ls-files", "--others", "--ignored", "--exclude-standard", "-z", name)
    files = [file for file in ignored.split("\0") if file and not _hidden(file)]
    if not files:
        return None
    if _git(root, "ls-files", "-z", name):
        few = first_few(files, NAMED)
        what = f"{name}: {counted(len(files), 'file')} neither in git nor under DVC: {few}: {lost}"
        return Problem(what=what, fix=f"git add -f {quoted}")
    return Problem(what=f"{name} is neither in git nor under DVC: {lost}", fix=f"dvc add {quoted}")


def to_add(root: Path, folder: Path) -> str:
    """What belongs into git for the data: the pointer that DVC makes, or made, or the folder."""
    pointer, lost = folder.with_name(f"{folder.name}.dvc"), unkept(root, folder)
    by_dvc = pointer.is_file() or (lost is not None and lost.fix.startswith("dvc add"))
    return shlex.quote(_shown(root, pointer if by_dvc else folder))


def way_back(root: Path, folder: Path) -> str:
    """How to get the files back that the data had when they were last committed."""
    pointer = folder.with_name(f"{folder.name}.dvc")
    if pointer.is_file() and _git(root, "ls-files", _shown(root, pointer)):
        name = shlex.quote(_shown(root, pointer))
        # `dvc repro` has just written the changed data into the pointer: git has the old one
        return f"get the pinned files back with `git checkout {name} && dvc checkout {name}`"
    if not pointer.is_file() and _git(root, "ls-files", _shown(root, folder)):
        shown = shlex.quote(_shown(root, folder))
        return f"put the pinned files back (`git checkout {shown}`, or your backup)"
    return "put the pinned files back from your backup"


def _under_dvc(root: Path, folder: Path) -> bool:
    """Whether DVC keeps the folder or one above it."""
    places = [place for place in (folder, *folder.parents) if place != root]
    return any(
        place.with_name(f"{place.name}.dvc").is_file()
        for place in places
        if place.name and place.is_relative_to(root)
    )


def _hidden(file: str) -> bool:
    return any(part.startswith(".") for part in file.split("/"))


def _shown(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _git(root: Path, *arguments: str) -> str:
    """What git answers here, whatever repository a hook around this is about; or nothing."""
    command = ["git", "--literal-pathspecs", *arguments]
    try:
        done = subprocess.run(
            command, cwd=root, env=git_environment(), capture_output=True, text=True, check=False,
            errors="replace", stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""
