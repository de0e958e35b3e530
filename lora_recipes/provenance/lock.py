"""dvc.lock: what each stage ran on and what it made, and whether that is one story."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lora_recipes.errors import CannotTell, Problem

FILE = "dvc.lock"
MAKE_WHOLE = "check this commit out, run `dvc repro`, and commit what it changes; then verify that"
"""The way out of a commit that was made in the middle of something."""

RESTORE = (
    "bring the committed one back: `git checkout dvc.lock`; or delete it, and `dvc repro` makes "
    "a new one"
)
"""The way out of a working tree whose dvc.lock was half-written when DVC was killed."""


@dataclass(frozen=True)
class LockedStage:
    """One stage as it last ran."""

    name: str
    deps: Mapping[str, str]
    """md5 by path; of a folder, that of its listing, ending in `.dir`."""

    params: Mapping[str, Any]
    """The values of resolved.yaml's keys, by dotted key."""

    outs: Mapping[str, str]
    """md5 by path."""


Lock = Mapping[str, LockedStage]


def read_lock(root: Path) -> dict[str, LockedStage]:
    """The stages of a project's dvc.lock, in the pipeline's order.

    Raises:
        CannotTell: there is none, or it is not whole.
    """
    if not (root / FILE).is_file():
        raise CannotTell.of(
            where=FILE,
            what="is not in this commit: nothing was trained in it",
            fix="name a commit that was made after `dvc repro`",
        )
    entries = stage_entries(root, MAKE_WHOLE)
    try:
        return {name: _stage(name, stage) for name, stage in entries.items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _not_whole(error, MAKE_WHOLE) from error


def stage_entries(root: Path, way_out: str) -> dict[str, dict[str, Any]]:
    """What dvc.lock says of each stage, as it stands there; nothing where there is no such file.

    Args:
        root: the project's folder.
        way_out: the advice where the file cannot be read.

    Raises:
        CannotTell: it is empty, cut, or no lock.
    """
    file = root / FILE
    if not file.is_file():
        return {}
    try:
        content = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))
        if content is None:
            raise ValueError("it is empty")
        return {name: dict(entry) for name, entry in content["stages"].items()}
    except (YAMLError, KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        raise _not_whole(error, way_out) from error


def _not_whole(error: Exception, way_out: str) -> CannotTell:
    what = f"cannot be read: {_short(error)}"
    return CannotTell.of(where=FILE, what=what, fix=way_out)


def made_by(stages: Iterable[LockedStage]) -> dict[str, LockedStage]:
    """Which stage makes a path."""
    return {path: stage for stage in stages for path in stage.outs}


def upstream(lock: Lock, name: str) -> list[str]:
    """A stage and all that it builds on, through deps and resolved.yaml, in the lock's order."""
    makers = made_by(lock.values())
    found: set[str] = set()
    waiting = [name]
    while waiting:
        stage = lock[waiting.pop()]
        if stage.name not in found:
            found.add(stage.name)
            read = [*stage.deps, *(["resolved.yaml"] if stage.params else [])]
            waiting += [makers[path].name for path in read if path in makers]
    return [stage for stage in lock if stage in found]


def contradictions(lock: Lock, names: Iterable[str]) -> list[Problem]:
    """Where a stage ran on another file than the stage that makes it has made."""
    makers = made_by(lock.values())
    return [
        Problem(
            where=FILE,
            what=f"contradicts itself: {name} ran on {path} {ran_on[:8]}, "
            f"but {makers[path].name} made {makers[path].outs[path][:8]}",
            fix=MAKE_WHOLE,
        )
        for name in names
        for path, ran_on in lock[name].deps.items()
        if path in makers and makers[path].outs[path] != ran_on
    ]


def _stage(name: str, stage: Mapping[str, Any]) -> LockedStage:
    return LockedStage(
        name=name,
        deps={entry["path"]: entry["md5"] for entry in stage.get("deps", [])},
        params=dict(stage.get("params", {}).get("resolved.yaml", {})),
        outs={entry["path"]: entry["md5"] for entry in stage.get("outs", [])},
    )


def _short(error: Exception) -> str:
    if isinstance(error, (TypeError, AttributeError)):
        return "it is cut off, or no mapping of stages"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"no {error}" if isinstance(error, KeyError) else lines[0]
