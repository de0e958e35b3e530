"""dvc.lock: what each stage ran on and what it made, and whether that is one story."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lora_recipes.errors import CannotTell, Problem
from lora_recipes.files import read_bytes
from lora_recipes.pipeline import RESOLVED

FILE = "dvc.lock"
MAKE_WHOLE = "check this commit out, run `dvc repro`, and commit what it changes; then verify that"
"""The way out of a commit that was made in the middle of something."""

WAY_BACK = (
    "`git checkout dvc.lock` brings the committed one back; without one, delete it: `dvc repro` "
    "writes it anew, and takes from its cache what it has made before"
)
"""The way out of a working tree whose lock is damaged."""


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
    if not os.path.lexists(root / FILE):
        raise CannotTell.of(
            where=FILE,
            what="is not in this commit: nothing was trained in it",
            fix="name a commit that was made after `dvc repro`",
        )
    stages = read_stages(root / FILE, MAKE_WHOLE)
    try:
        return {name: _stage(name, stage) for name, stage in stages.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(FILE, error, MAKE_WHOLE) from error


def read_stages(file: Path, fix: str) -> dict[str, dict[str, Any]]:
    """The stages of dvc.lock or dvc.yaml as they stand there.

    Args:
        file: which one; it is there.
        fix: the way out where it is damaged.

    Raises:
        CannotTell: it is empty, cut off, or something else altogether.
    """
    try:
        return stages_in(read_bytes(file))
    except DAMAGES as error:
        raise _damaged(file.name, error, fix) from error


def stages_in(content: bytes) -> dict[str, dict[str, Any]]:
    """The stages of one version of dvc.lock or dvc.yaml.

    Raises:
        One of DAMAGES: it is not such a file.
    """
    if not content.strip(b"\0 \r\n\t"):
        raise ValueError("it is empty")
    stages = YAML(typ="safe", pure=True).load(content.decode("utf-8"))["stages"]
    if not all(isinstance(stage, dict) for stage in stages.values()):
        raise TypeError("a stage is not a mapping")
    return dict(stages)


DAMAGES = (*(YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError),)
"""What reading a file raises that something or somebody has damaged."""


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
            read = [*stage.deps, *([RESOLVED] if stage.params else [])]
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
        deps=_hashes(stage.get("deps", [])),
        params=dict(stage.get("params", {}).get(RESOLVED, {})),
        outs=_hashes(stage.get("outs", [])),
    )


def _hashes(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    hashes = {entry["path"]: entry["md5"] for entry in entries}
    if not all(isinstance(text, str) for pair in hashes.items() for text in pair):
        raise TypeError("a path or a hash is not a text")
    return hashes


def _damaged(where: str, error: Exception, fix: str) -> CannotTell:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    short = f"no {error}" if isinstance(error, KeyError) else lines[0]
    if isinstance(error, OSError):
        short = error.strerror or short
    if isinstance(error, TypeError | AttributeError | RecursionError | UnicodeDecodeError):
        short = "it is cut off, or was written by something else than DVC"
    return CannotTell.of(where=where, what=f"cannot be read: {short}", fix=fix)
