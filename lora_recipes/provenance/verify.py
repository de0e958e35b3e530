"""Running a commit again, and comparing what comes out with what its dvc.lock says.

The commit is checked out into a folder of its own. First it is made sure that there is something
to prove: that the commit is one whole, that its own code is what runs, that what goes in is there
and sound. Whatever stands in the way is `CannotTell`, never "not reproduced".
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lora_recipes.errors import CannotTell, UserError
from lora_recipes.formats.drift import Drift, drift
from lora_recipes.pipeline import ENCODED, PRIOR, RESOLVED
from lora_recipes.provenance.compare import compare, read_record
from lora_recipes.provenance.environments import own_environment
from lora_recipes.provenance.inputs import damaged, fetch, link_base, place_inputs
from lora_recipes.provenance.lock import read_lock
from lora_recipes.provenance.objects import Objects
from lora_recipes.provenance.processes import stage_environment
from lora_recipes.provenance.rerun import check_code, resolve_again, run_again, stages_to_run
from lora_recipes.provenance.revision import Revision, resolve_revision
from lora_recipes.provenance.verdict import Output, Verdict
from lora_recipes.provenance.whole import check_record, check_resolved
from lora_recipes.provenance.worktree import Worktree, checked_out
from lora_recipes.recipe.yamlfile import read
from lora_recipes.reporting import Reporter


@dataclass(frozen=True)
class Wanted:
    """What is to be verified, and how."""

    name: str
    """A commit, tag, branch or DVC experiment."""

    every_stage: bool = False
    """Run the whole pipeline, not training alone."""

    pull: bool = False
    """Fetch what is missing: from the DVC remote, and a base model from its hub."""

    own_environment: bool = False
    """Run with the packages of the commit's own requirements.lock."""

    keep: bool = False
    """Leave the folder in which it was run, to look at."""


def verify(root: Path, wanted: Wanted, report: Reporter) -> Verdict:
    """Run a commit again and compare.

    Raises:
        CannotTell: the question has no answer; each reason by name.
    """
    check_folder(root)
    revision = resolve_revision(root, wanted.name)
    report.say(f"checking out {revision}")
    try:
        with checked_out(root, revision.commit, keep=wanted.keep) as there:
            return _verify(root, there, revision, wanted, report)
    except CannotTell:
        raise
    except UserError as error:
        raise CannotTell(error.problems) from error
    except OSError as error:
        raise CannotTell.of(
            where=str(error.filename or root),
            what=f"verifying stopped: {error.strerror or error}",
            fix="free some space, or see to the file's permissions, then run it again",
        ) from error


def _verify(
    root: Path, there: Worktree, revision: Revision, wanted: Wanted, report: Reporter
) -> Verdict:
    lock = read_lock(there.root)
    names, chain = stages_to_run(there.root, lock, wanted.every_stage)
    check_record(there.root, lock, chain)

    then = read_record(there.root)
    python = Path(sys.executable)
    if wanted.own_environment:
        python = own_environment(root, there.root, then.environment.get("python"), report)
    environment = stage_environment(python, network=wanted.pull)
    check_code(there.root, environment)
    link_base(root, there)
    resolved = resolve_again(there.root, chain, lock, environment, report)
    if resolved is not None:
        check_resolved(lock, chain, resolved)

    network = environment if wanted.pull else None
    place_inputs(there, lock, names, network, report)
    run_again(there.root, wanted.every_stage, environment, report)

    objects = Objects(*there.caches)
    outputs = compare(
        there.root,
        then,
        before=lock,
        after=read_lock(there.root),
        names=names,
        objects=objects,
    )
    drift, notes = _drift(there, outputs, network, report)
    notes += _damaged_outputs(outputs, objects)
    notes += _of_generated(there.root, wanted.every_stage)
    if wanted.keep:
        notes.append(f"it was run in {there.root}")
    now = read_record(there.root).environment
    return Verdict(revision, outputs, then.environment, now, drift, tuple(notes))


def _drift(
    there: Worktree,
    outputs: tuple[Output, ...],
    network: Mapping[str, str] | None,
    report: Reporter,
) -> tuple[dict[str, Drift], list[str]]:
    """How far each adapter that differs has moved; a note where the old one is not at hand."""
    measured: dict[str, Drift] = {}
    notes = []
    for output in outputs:
        if output.same is not False or not output.path.endswith(".safetensors") or not output.now:
            continue
        old = there.folder / "then"
        faults = Objects(*there.caches).place(output.path, output.then, old)
        if faults.missing and network is not None:
            fetch(there, [output.path], network, report)
            faults = Objects(*there.caches).place(output.path, output.then, old)
        if faults:
            notes.append(
                f"{output.path}: how far it is off is not known, since the cache does not hold "
                "the commit's own file (--pull fetches it)"
            )
        else:
            measured[output.path] = drift(old / output.path, there.root / output.path)
    return measured, notes


def _of_generated(root: Path, every_stage: bool) -> list[str]:
    """Where the regularization pictures come from, if the base generated any."""
    if not read(root / RESOLVED, RESOLVED).data.get("prior_prompts"):
        return []
    if every_stage:
        return [f"the regularization pictures in {PRIOR} were generated again"]
    return [
        "the regularization pictures are those that the commit generated and encoded then: "
        f"{ENCODED} is the cache's; --all generates them again"
    ]


def _damaged_outputs(outputs: tuple[Output, ...], objects: Objects) -> list[str]:
    """What the commit made and the cache holds, but no longer as it was."""
    faults = [objects.look(output.path, output.then) for output in outputs]
    return [str(damaged(name, place)) for f in faults for name, place in f.damaged.items()]


def check_folder(root: Path) -> None:
    """Make sure that this is a project's folder.

    Raises:
        CannotTell: it is not; names the project around it, if there is one.
    """
    if (root / "dvc.yaml").is_file() and (root / ".dvc").is_dir():
        return
    around = next((p for p in root.parents if (p / "dvc.yaml").is_file()), None)
    raise CannotTell.of(
        where=str(root),
        what="is not a project's folder: it holds no dvc.yaml and .dvc",
        fix=f'cd "{around}"' if around else "cd to the folder that holds params.yaml",
    )
