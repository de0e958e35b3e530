"""What a run needs besides the commit's own files: data and earlier outputs, and a local base."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from lora_recipes.errors import CannotTell, Problem
from lora_recipes.pipeline import RESOLVED
from lora_recipes.provenance.lock import Lock, made_by
from lora_recipes.provenance.objects import Faults, Objects
from lora_recipes.provenance.processes import DVC, Done, follow
from lora_recipes.provenance.worktree import Worktree
from lora_recipes.recipe.yamlfile import read
from lora_recipes.reporting import Reporter

NO_PATHS = ("pocket", "base", "none")
"""Values of base.model, base.vae and base.tokenizer that are words."""


def link_base(root: Path, there: Worktree) -> None:
    """Let a base model at a relative path that git does not track be found in the worktree too.

    A link does it for every commit, whatever its code knows. Whether the files are still those of
    that time is for `resolve` to find out, which hashes them.
    """
    if not (there.root / RESOLVED).is_file():
        return
    base = read(there.root / RESOLVED, RESOLVED).data.get("base", {})
    for key in ("model", "vae", "tokenizer"):
        name = str(base.get(key, "none"))
        here, link = root / name, there.root / name
        if name not in NO_PATHS and here.exists() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(here.resolve(), target_is_directory=here.is_dir())


def place_inputs(
    there: Worktree,
    lock: Lock,
    names: Iterable[str],
    environment: Mapping[str, str] | None,
    report: Reporter,
) -> None:
    """Copy out of the cache what these stages read and neither git holds nor they make.

    Args:
        there: where they will run.
        lock: the commit's.
        names: the stages.
        environment: for `dvc fetch`, where missing files may be fetched; else None.
        report: hears what DVC fetches.

    Raises:
        CannotTell: the cache does not hold all of it, or an object's bytes are damaged.
    """
    stages = [lock[name] for name in names]
    made = made_by(stages)
    needed = {
        path: md5
        for stage in stages
        for path, md5 in stage.deps.items()
        if path not in made and not (there.root / path).exists()
    }
    objects = Objects(*there.caches)
    faults = {path: objects.place(path, md5, there.root) for path, md5 in needed.items()}
    missing = [path for path, found in faults.items() if found.missing]
    advice = "fetch it from the DVC remote: the same command with --pull"
    if missing and environment is not None:
        fetched = fetch(there, missing, environment, report)
        advice = "`dvc push` it where it still is, to a remote that this project names" + (
            f"; dvc fetch said: {fetched.last_line}" if fetched.code else ""
        )
        faults |= {path: objects.place(path, needed[path], there.root) for path in missing}
    problems = [p for path, found in faults.items() for p in _problems(path, found, advice)]
    if problems:
        raise CannotTell(problems)


def fetch(
    there: Worktree, paths: Iterable[str], environment: Mapping[str, str], report: Reporter
) -> Done:
    """Bring outputs of the commit from the DVC remote, as far as it has them.

    They go into the worktree's cache, so that the user's is left as it is.
    """
    return follow([*DVC, "fetch", *paths], there.root, environment, report.say)


def _problems(path: str, found: Faults, advice: str) -> list[Problem]:
    problems = [damaged(name, place) for name, place in found.damaged.items()]
    if found.missing:
        some = "" if found.missing == [path] else f", such as {found.missing[0]}"
        count = len(found.missing)
        what = "is not in DVC's cache" if not some else f"{count} of its files are not in the cache"
        problems.append(Problem(where=path, what=what + some, fix=advice))
    return problems


def damaged(name: str, place: Path) -> Problem:
    """A file of the cache whose content is not what its name, a hash, says."""
    return Problem(
        where=name,
        what=f"its object in DVC's cache is damaged: {place} does not hold what its name says",
        fix="delete that object, then `dvc fetch` it, or make it again with `dvc repro --force`",
    )
