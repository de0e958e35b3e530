"""A commit's files in a folder of their own, where DVC finds the project's remotes.

The folder lies in `.lora/verify`, on the file system of the project, and goes away whatever
happens; that of a process that was killed goes when the next one comes by.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from configobj import ConfigObj
from filelock import FileLock, Timeout

from lora_recipes.errors import CannotTell
from lora_recipes.files import own_folder
from lora_recipes.git import git_environment
from lora_recipes.provenance.processes import DVC, ask, ask_git, git
from lora_recipes.stopping import at_once

KEPT = "kept"
"""A file with this name says that the user wants to look at the folder."""

PATHS = (
    "url",
    "gdrive_user_credentials_file",
    "gdrive_service_account_json_file_path",
    "credentialpath",
    "configpath",
    "keyfile",
    "cert_path",
    "key_path",
)
"""A remote's settings that DVC reads as paths from the config file's folder."""


@dataclass(frozen=True)
class Worktree:
    """A commit checked out beside the user's own files."""

    folder: Path
    """For this run alone: everything in it goes with it."""

    root: Path
    """The project's folder among the commit's files."""

    caches: tuple[Path, Path]
    """DVC's cache here, empty at first and gone with the folder; and the project's, to read."""


@contextmanager
def checked_out(root: Path, commit: str, *, keep: bool = False) -> Iterator[Worktree]:
    """Check a commit out for as long as the context lasts, or longer with `keep`.

    Nothing of the user's is written to: not the tree, HEAD, the index, or `.dvc`. The commit is
    free of the user's hooks. Several at once do not meet.

    Raises:
        CannotTell: git cannot check the commit out, or DVC does not know its cache.
    """
    cache = cache_folder(root)
    prefix = git(root, "rev-parse", "--show-prefix")
    place = own_folder(root) / "verify"
    place.mkdir(parents=True, exist_ok=True)
    _sweep(root, place)
    folder = place / uuid.uuid4().hex[:12]
    lock = FileLock(folder.with_suffix(".lock"))
    with lock.acquire(timeout=0), at_once():
        try:
            folder.mkdir()
            tree = folder / "tree"
            git(root, "worktree", "add", "--quiet", "--detach", str(tree), commit)
            there = Worktree(folder, tree / prefix, (folder / "cache", cache))
            if not (there.root / ".dvc").is_dir():
                raise CannotTell.of(
                    what=f"commit {commit[:10]} holds no DVC project in this folder",
                    fix="name a commit that was made after `dvc init`",
                )
            _configure_dvc(root, there)
            yield there
        finally:
            if keep and folder.is_dir():
                (folder / KEPT).touch()
            else:
                _remove(root, folder)


def cache_folder(root: Path) -> Path:
    """Where DVC keeps this project's files, whichever config says so.

    Raises:
        CannotTell: DVC does not tell.
    """
    done = ask([*DVC, "cache", "dir"], root, git_environment())
    if done.code:
        raise CannotTell.of(
            what=f"dvc cache dir failed: {done.first_line}",
            fix="run this in the project's folder, where .dvc and dvc.yaml are",
        )
    return Path(done.out.strip())


def _configure_dvc(root: Path, there: Worktree) -> None:
    """Give the worktree the user's DVC settings of today, credentials too, and a cache of its own.

    They go into the worktree's `config.local`, which wins over the commit's own config. With the
    user's cache even a `dvc status` could delete an object there, and a link into it be written to.
    """
    settings = ConfigObj(interpolation=False)
    for name in ("config", "config.local"):
        file = root / ".dvc" / name
        if file.is_file():
            found = ConfigObj(str(file), encoding="utf-8", interpolation=False)
            for section, values in found.items():
                if section.startswith("remote "):
                    found[section] = _absolute(values, root / ".dvc")
            settings.merge(found)
    changes = {
        "cache": {"dir": str(there.caches[0]), "type": "copy"},
        "core": {
            "site_cache_dir": str(there.folder / "dvc"),
            "analytics": "false",
            "check_update": "false",
            "autostage": "false",
            "no_scm": "true",  # in a submodule DVC takes the worktree for outside of the repository
        },
    }
    settings.merge(changes)
    settings.filename = str(there.root / ".dvc" / "config.local")
    settings.encoding = "utf-8"
    settings.write()
    Path(settings.filename).chmod(0o600)


def _absolute(values: dict[str, str], folder: Path) -> dict[str, str]:
    """A remote's settings with paths that mean the same from anywhere."""
    return {
        name: os.path.normpath(folder / Path(value).expanduser())
        if name in PATHS and not re.match(r"\w+://", value)
        else value
        for name, value in values.items()
    }


def _sweep(root: Path, place: Path) -> None:
    """Remove what killed processes have left: folders that nobody holds."""
    for folder in sorted(path for path in place.iterdir() if path.is_dir()):
        if not (folder / KEPT).exists():
            with suppress(Timeout), FileLock(folder.with_suffix(".lock")).acquire(timeout=0):
                _remove(root, folder)


def _remove(root: Path, folder: Path) -> None:
    if (folder / "tree").exists():
        ask_git(root, "worktree", "remove", "--force", "--force", str(folder / "tree"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_suffix(".lock").unlink(missing_ok=True)
