"""Saying early that params.yaml's `data` leads to no pictures, and what was probably meant.

No stage's code hash covers this module: it refuses, and changes no byte.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

from configobj import ConfigObj, ConfigObjError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lora_recipes.errors import Problem
from lora_recipes.pipeline import PARAMS
from lora_recipes.recipe.fields import show
from lora_recipes.recipe.near import nearest
from lora_recipes.recipe.yamlfile import read
from lora_recipes.text import first_few

NAMED = 8
"""Data sets that a message names before it says how many more there are."""

SEVERAL = "holds data sets, of which one is trained on"
NOT_HERE = "the images are not here yet"
DRIVE = re.compile(r"([A-Za-z]):[\\/]+(.*)")
REMOTE = re.compile(r"""'?remote "(.+)"'?""")


def missing_folder(root: Path) -> Problem | None:
    """What is wrong where `data` leads to no folder, or to one whose pictures DVC has not fetched.

    `validate`, `plan`, `pin` and the stages resolve and dataset all answer with this.
    """
    source = read(root / PARAMS, PARAMS)
    name = source.data.get("data")
    if not isinstance(name, str) or not name:
        return None  # `data_folder` says so
    try:
        what = _wrong(root, name)
        fix = how_to_fetch(root, name.rstrip("/")) if what == NOT_HERE else _other(root, name)
        fix = f"write one of them: {_sets(root, name)}" if what == SEVERAL else fix
    except (OSError, ValueError):
        what, fix = "no folder can have that name", _other(root, name)
    if not what:
        return None
    return Problem(where=source.where(("data",)), what=f"data = {show(name)}: {what}", fix=fix)


def how_to_fetch(root: Path, folder: str) -> str:
    """The command that brings back what `<folder>.dvc` stands for, or what to do without one."""
    quoted = shlex.quote(folder)
    if pull := pull_command(root):
        return f"{pull} {quoted}"
    if _in_cache(root, root / f"{folder}.dvc"):
        return f"dvc checkout {quoted}"
    return (
        f"copy the pictures into {folder} from where they are: .dvc/config names no remote to "
        "`dvc pull` them from, and DVC's cache does not hold them"
    )


def _wrong(root: Path, name: str) -> str:
    """What is wrong with a folder; nothing where it is right."""
    folder = root / name
    tracked = (root / f"{name.rstrip('/')}.dvc").is_file()
    if folder.is_dir():
        if tracked and not any(folder.iterdir()):
            return NOT_HERE
        several = (folder / "demo").is_dir() or any(folder.glob("[!.]*.dvc"))
        return SEVERAL if several else ""
    if folder.exists():
        return "is a file, not a folder"
    return NOT_HERE if tracked else "no such folder"


def _other(root: Path, name: str) -> str:
    """What to write instead of a name that leads nowhere."""
    if name.startswith("~"):
        return f"write the whole path: {_home(name)}"
    if os.name != "nt" and "\\" in name:
        if match := DRIVE.fullmatch(name):
            rest = match[2].replace("\\", "/")
            return (
                "a Windows path is none here: copy the pictures into data/<name> and write that; "
                f"under WSL, write /mnt/{match[1].lower()}/{rest}"
            )
        return f"write {name.replace(chr(92), '/')}"
    near = _near(root, Path(name))
    return f"did you mean {near}?" if near else "write the path of the folder with your images"


def _sets(root: Path, name: str) -> str:
    """The data sets in a folder of several."""
    folders = {path.name for path in (root / name).iterdir() if path.is_dir()}
    names = sorted(folders | {path.stem for path in (root / name).glob("*.dvc")})
    shown = [(Path(name) / each).as_posix() for each in names if each[0] != "."]
    return first_few(shown, NAMED)


def _near(root: Path, given: Path) -> str:
    """The folder that was probably meant, those too whose images DVC has not fetched."""
    try:
        for parent in (given.parent, Path("data") / given.parent):
            if (root / parent).is_dir():
                found = [path.name for path in (root / parent).iterdir() if path.is_dir()]
                found += [path.stem for path in (root / parent).glob("*.dvc")]
                if near := nearest(given.name, (each for each in found if each[0] != ".")):
                    return (parent / near).as_posix()
    except (OSError, ValueError):
        pass
    return ""


def _home(name: str) -> str:
    try:
        return Path(name).expanduser().as_posix()
    except RuntimeError:  # nobody of that name
        return "DVC does not know ~"


def pull_command(root: Path) -> str:
    """`dvc pull` from the remote that the project's configuration names; nothing without one."""
    named = ""
    for name in ("config", "config.local"):
        try:
            config = ConfigObj(str(root / ".dvc" / name), encoding="utf-8")
        except (ConfigObjError, OSError, UnicodeError):
            continue
        if "remote" in config.get("core", {}):
            return "dvc pull"
        for match in filter(None, map(REMOTE.fullmatch, config)):
            named = named or f"dvc pull -r {shlex.quote(match[1])}"
    return named


def _in_cache(root: Path, pointer: Path) -> bool:
    """Whether the project's own cache holds all files of a folder, by their names there."""
    objects = root / ".dvc" / "cache" / "files" / "md5"
    try:
        (out,) = YAML(typ="safe", pure=True).load(pointer.read_text("utf-8"))["outs"]
        listed = json.loads((objects / out["md5"][:2] / out["md5"][2:]).read_bytes())
        hashes = [str(entry["md5"]) for entry in listed]
    except (OSError, ValueError, LookupError, TypeError, YAMLError):
        return False
    return all((objects / md5[:2] / md5[2:]).is_file() for md5 in hashes)
