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
    file = root / FILE
    if not file.is_file():
        raise CannotTell.of(
            where=FILE,
            what="is not in this commit: nothing was trained in it",
            fix="name a commit that was made after `dvc repro`",
        )
    try:
        stages = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))["stages"]
        return {name: _stage(name, stage) for name, stage in stages.items()}
    except (YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise CannotTell.of(
            where=FILE, what=f"cannot be read: {_short(error)}", fix=MAKE_WHOLE
        ) from error


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
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"no {error}" if isinstance(error, KeyError) else lines[0]
