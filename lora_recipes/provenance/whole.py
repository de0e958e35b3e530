"""Whether a commit is one whole: its lock, its settings, its code and its data tell one story.

A commit that was made in the middle of something (edited, and not run) promises nothing. Such a
one is refused, and what does not fit is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lora_recipes.errors import CannotTell, Problem
from lora_recipes.files import read_bytes
from lora_recipes.pipeline import RESOLVED
from lora_recipes.provenance.lock import DAMAGES, MAKE_WHOLE, Lock, contradictions, made_by
from lora_recipes.provenance.pipeline import differing, dvc_status
from lora_recipes.recipe.releases import nested
from lora_recipes.recipe.yamlfile import read
from lora_recipes.tree import lookup


def check_record(root: Path, lock: Lock, names: Iterable[str]) -> None:
    """Compare the commit's files with what its lock says that these stages ran on and made.

    Only the commit's own files may lie in `root`, nothing from DVC's cache.

    Raises:
        CannotTell: they do not fit together; what and where.
    """
    names = list(names)
    problems = contradictions(lock, names)
    problems += _changed_sources(root, lock, names)
    status = dvc_status(root, *names)
    for name in names:
        problems += _half_made(root, lock, name, status.get(name, []))
    if problems:
        raise CannotTell(problems)


def check_resolved(lock: Lock, names: Iterable[str], resolved: dict[str, Any]) -> None:
    """Compare what the commit's code now makes of its recipe with what the stages ran with.

    Raises:
        CannotTell: a setting, the code, the packages or the base model differ.
    """
    problems: dict[str, Problem] = {}
    for name in names:
        for tracked, before in lock[name].params.items():
            for key in differing(tracked, before, resolved):
                problems.setdefault(key, _other_setting(name, key, lock[name].params, resolved))
    if problems:
        raise CannotTell(problems.values())


def _changed_sources(root: Path, lock: Lock, names: list[str]) -> Iterator[Problem]:
    """What the stages read and `dvc add` put into the cache, where the commit names another one."""
    makers = made_by(lock.values())
    deps = {path: md5 for name in names for path, md5 in lock[name].deps.items()}
    for path, ran_on in deps.items():
        pointer = root / f"{path}.dvc"
        if path in makers or not pointer.is_file():
            continue
        try:
            kept = YAML(typ="safe", pure=True).load(read_bytes(pointer).decode("utf-8"))["outs"][0]
            named = kept.get("md5")
        except DAMAGES:
            yield _problem(f"{path}.dvc", "it is damaged")
            continue
        if named != ran_on:
            told = f"it names other data than the stages ran on ({ran_on[:8]})"
            yield _problem(f"{path}.dvc", told)


def _half_made(root: Path, lock: Lock, name: str, changes: list[Any]) -> Iterator[Problem]:
    """What DVC finds changed since the stage ran, besides what only the cache could hold."""
    makers = made_by(lock.values())
    committed = read(root / RESOLVED, RESOLVED).data if (root / RESOLVED).is_file() else {}
    resolves = RESOLVED in lock[name].outs  # its deps are compared by what comes out of it
    for change in changes:
        if change == "changed command":
            yield _problem("dvc.yaml", f"{name} has another command than it ran with")
        elif isinstance(change, dict):
            deps = {} if resolves else dict(change.get("changed deps", {}))
            keys = deps.pop(RESOLVED, None)
            for tracked in keys if isinstance(keys, dict) else []:
                was = lock[name].params.get(tracked)
                for key in differing(tracked, was, committed) or [tracked]:
                    yield _problem(RESOLVED, f"{key} is not what {name} ran with")
            for path, state in deps.items():
                if path not in makers and not (root / f"{path}.dvc").is_file():
                    yield _problem(path, f"is not what {name} ran on ({state})")
            for path in change.get("changed outs", {}):
                if (root / path).exists():
                    yield _problem(path, f"is not what {name} made")


def _other_setting(
    name: str, key: str, params: Mapping[str, Any], resolved: dict[str, Any]
) -> Problem:
    before, now = (lookup(tree, tuple(key.split("."))) for tree in (nested(params), resolved))
    kind, _, rest = key.partition(".")
    if kind == "base_identity":
        return Problem(
            where="base.model",
            what=f"the base model here is not the one of this commit: {now}, then {before}",
            fix="put the files of that time where the commit's params.yaml says",
        )
    if kind == "code":
        return _problem("lora_recipes", f"the code of {rest} is not the code that {name} ran with")
    if kind == "packages":
        return _problem("requirements.lock", f"{rest} is {now}, but {name} ran with {before}")
    return _problem("params.yaml", f"{key} is {_shown(now)}, but {name} ran with {_shown(before)}")


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)


def _problem(where: str, what: str) -> Problem:
    return Problem(where=where, what=f"half-made commit: {what}", fix=MAKE_WHOLE)
