"""The commit's own code, run in the commit's own folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lora_recipes.errors import CannotTell
from lora_recipes.pipeline import PACKAGE, RESOLVED
from lora_recipes.provenance.lock import FILE, MAKE_WHOLE, Lock, upstream
from lora_recipes.provenance.pipeline import stage_names
from lora_recipes.provenance.processes import DVC, ask, follow
from lora_recipes.recipe.yamlfile import read
from lora_recipes.reporting import Reporter

TRAIN = "train"
FORCED = ("--force", "--no-commit", "--no-run-cache")
"""Run whatever DVC remembers, and put nothing into its cache."""


def stages_to_run(root: Path, lock: Lock, every_stage: bool) -> tuple[list[str], list[str]]:
    """The stages to run again, and those (with them) whose record these build on.

    Raises:
        CannotTell: dvc.yaml has a stage that never ran.
    """
    names = stage_names(root) if every_stage else [TRAIN]
    if never := [name for name in names if name not in lock]:
        raise CannotTell.of(
            where=FILE,
            what=f"the stage {', '.join(never)} never ran in this commit",
            fix=MAKE_WHOLE if every_stage else "name a commit that was made after `dvc repro`",
        )
    return names, names if every_stage else upstream(lock, TRAIN)


def check_code(root: Path, environment: Mapping[str, str]) -> None:
    """Make sure that the stages will run the commit's code, where the commit has its own.

    Raises:
        CannotTell: `python` imports the package from elsewhere, or not at all.
    """
    if not (root / PACKAGE).is_dir():
        return  # a project of the installed package: the code's hash alone decides
    done = ask(["python", "-c", f"import {PACKAGE}; print({PACKAGE}.__file__)"], root, environment)
    place = Path(done.out.strip() or "nowhere")
    if done.code or not place.resolve().is_relative_to(root.resolve()):
        raise CannotTell.of(
            what="the commit's own code would not run: `import lora_recipes` takes "
            + (f"{place}" if not done.code else f"nothing ({done.last_line})"),
            fix="remove that package from the environment, or see what puts it first",
        )


def resolve_again(
    root: Path, names: Iterable[str], lock: Lock, environment: Mapping[str, str], report: Reporter
) -> dict[str, Any] | None:
    """What the commit's own `resolve` makes of its recipe now; its committed answer stays in place.

    None if no stage writes resolved.yaml.

    Raises:
        CannotTell: it fails, as it does where the base model is missing; its last lines.
    """
    stage = next((name for name in names if RESOLVED in lock[name].outs), None)
    if stage is None:
        return None
    committed = (root / RESOLVED).read_bytes()
    report.say(f"running its {stage} again")
    done = follow(
        [*DVC, "repro", *FORCED, "--single-item", stage], root, environment, lambda _: None
    )
    if done.code:
        raise _failed(f"the commit's own {stage} failed", done.out)
    resolved = read(root / RESOLVED, RESOLVED).data
    (root / RESOLVED).write_bytes(committed)
    return resolved


def run_again(
    root: Path, every_stage: bool, environment: Mapping[str, str], report: Reporter
) -> None:
    """Run training by force, or with it the whole pipeline.

    Raises:
        CannotTell: a stage fails; its last lines.
    """
    which = [] if every_stage else ["--single-item", TRAIN]
    report.say(f"running {'every stage' if every_stage else TRAIN} again")
    done = follow([*DVC, "repro", *FORCED, *which], root, environment, report.say)
    if done.code:
        raise _failed("the commit could not be run again", done.out)


def _failed(what: str, lines: str) -> CannotTell:
    return CannotTell.of(
        what=f"{what}; its last lines:\n    " + lines.replace("\n", "\n    "),
        fix="put right what they name; --pull fetches a base model that is missing, and --env "
        "runs with the commit's own libraries",
    )
