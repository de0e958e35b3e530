"""Which stages `dvc repro` would run: asked of DVC, and of a fresh resolve.

`dvc repro --dry` cannot see past `resolve`, since the later stages' settings stand in a file that
resolve is yet to write. So the recipe is resolved in memory, compared with what dvc.lock says that
each stage last ran with, and files are asked of `dvc status`. Nothing in the project is touched.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_recipes.errors import CannotTell, Problem
from lora_recipes.git import git_environment
from lora_recipes.pipeline import RESOLVED
from lora_recipes.provenance.lock import FILE as LOCK
from lora_recipes.provenance.lock import WAY_BACK, read_stages
from lora_recipes.provenance.processes import Done, ask
from lora_recipes.recipe.kept import no_git
from lora_recipes.text import aligned
from lora_recipes.tree import lookup

DVC_STATUS = """
import gc, sys
gc.disable()  # a tenth of the command, in a process that ends at once
from dvc.cli import main
sys.exit(main(["status", "--json", *sys.argv[1:]]))
"""
OUTPUTS = ("outs", "metrics", "plots")
"""What DVC calls the kinds of files that a stage makes."""

WIDTH = 96
"""Of a printed line."""


@dataclass(frozen=True)
class StagePlan:
    """What will happen to one stage."""

    name: str
    fate: str
    """`run`, `may run` (if an earlier stage's output changes), or `keep`."""
    why: str
    """The keys or files that changed, or nothing."""


def stage_plans(root: Path, resolved: dict[str, Any]) -> list[StagePlan]:
    """The fate of each stage of dvc.yaml, in the pipeline's order.

    Args:
        root: the project's folder.
        resolved: what `resolve` would write now.

    Raises:
        CannotTell: dvc.lock is not whole, DVC fails, or another DVC command holds the project.
    """
    lock = read_stages(root / LOCK, WAY_BACK) if (root / LOCK).exists() else {}
    stages = _stages(root)
    status = dvc_status(root)
    made = {path for stage in stages.values() for kind in OUTPUTS for path in _paths(stage, kind)}
    plans: list[StagePlan] = []
    changing: dict[str, str] = {}
    for name, stage in stages.items():
        reasons = _file_reasons(status.get(name, []), made)
        reasons += _key_reasons(stage, lock.get(name), resolved)
        upstream = sorted({changing[path] for path in _paths(stage, "deps") if path in changing})
        if name not in lock:
            fate, why = "run", "it never ran"
        elif reasons:
            fate, why = "run", ", ".join(dict.fromkeys(reasons))
        elif upstream:
            fate, why = "may run", "if " + " or ".join(upstream) + " gives something new"
        else:
            fate, why = "keep", ""
        if fate != "keep":
            changing |= {
                path: name
                for kind in OUTPUTS
                for path in _paths(stage, kind)
                if path != RESOLVED  # its keys were compared one by one
            }
        plans.append(StagePlan(name, fate, why))
    return plans


def table(plans: list[StagePlan]) -> list[str]:
    """A line for each stage; long reasons are wrapped below one another."""
    rows = ((plan.fate, plan.name, plan.why) for plan in plans)
    return aligned(rows, indent="  ", width=WIDTH)


def stage_names(root: Path) -> list[str]:
    """The stages of dvc.yaml, in the pipeline's order."""
    return list(_stages(root))


def _key_reasons(
    stage: dict[str, Any], locked: dict[str, Any] | None, resolved: dict[str, Any]
) -> list[str]:
    """The tracked keys of resolved.yaml whose value is not what the stage last ran with."""
    before = (locked or {}).get("params", {}).get(RESOLVED, {})
    reasons: list[str] = []
    for entry in stage.get("params", []):
        for key in entry[RESOLVED]:
            reasons += [key] if key not in before else differing(key, before[key], resolved)
    return reasons


def differing(key: str, before: Any, resolved: dict[str, Any]) -> list[str]:
    """The dotted keys, at or below one, under which a recipe says something else than before."""
    now = lookup(resolved, tuple(key.split(".")))
    if before == now:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        return [k for n in now | before for k in differing(f"{key}.{n}", before.get(n), resolved)]
    return [key]


def _file_reasons(changes: list[Any], made: set[str]) -> list[str]:
    """Files that make a stage run: changed sources, and outputs that the cache does not hold.

    An output that is missing or was tampered with comes back from the cache; parameters and
    resolved.yaml are compared key by key.
    """
    reasons = []
    for change in changes:
        if change == "changed command":
            reasons.append("its command")
        elif isinstance(change, dict):
            for path, state in change.get("changed deps", {}).items():
                if path not in made:
                    reasons.append(f"{path} ({state})")
            for path, state in change.get("changed outs", {}).items():
                if state == "not in cache":
                    reasons.append(f"{path} (not in the cache)")
    return reasons


def _paths(stage: dict[str, Any], kind: str) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in stage.get(kind, [])]


def _stages(root: Path) -> dict[str, dict[str, Any]]:
    return read_stages(root / "dvc.yaml", "`git checkout dvc.yaml` brings the committed one back")


def dvc_status(root: Path, *stages: str) -> dict[str, list[Any]]:
    """What DVC finds changed, by stage; of some stages, or of all that it knows.

    Raises:
        CannotTell: DVC fails, or another DVC command holds the project.
    """
    done = ask([sys.executable, "-P", "-c", DVC_STATUS, *stages], root, git_environment())
    if done.code:
        raise CannotTell(no_git(root) or _failure(done))
    status: dict[str, list[Any]] = json.loads(done.out or "{}")
    return status


FAILURES = (
    ("is busy", "wait for that command to end"),
    ("acquire lock", "wait for the other DVC command to end"),
    (LOCK, WAY_BACK),
    ("RWLock-file", "delete .dvc/tmp/rwlock, which a killed DVC left, and run this again"),
)
"""What DVC's message holds, and the advice that is right then."""


def _failure(done: Done) -> Problem:
    """DVC's complaint, whole: it names the process that is in the way after the first line."""
    said = (done.error.strip() or done.out.strip() or "no message").removeprefix("ERROR: ")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fix = next((fix for sign, fix in FAILURES if sign in said), "run `dvc status` to see more")
    return Problem(what="dvc status failed: " + "\n  ".join(lines), fix=fix)
