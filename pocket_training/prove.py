"""Does this machine give the demo's adapter back: to the bit, or within the stated bounds?

After `make repro`, `python -m pocket_training.prove` (`make prove`) says which of the two it
is, or fails. `--renew` (`make golden`) makes the adapter in `out/` the golden one.

On a CPU of another model the last bits of a sum differ, and 720 steps of training amplify small
differences. So three things are held against the record there: the losses of the first steps,
which are the same maths before small differences have grown; how far the adapter lies from the
golden one; and what the judge sees in the pictures. `docs/drift.md` is where the bounds come from.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lora_recipes.errors import CannotTell, Problem, UserError
from lora_recipes.files import write_bytes
from lora_recipes.hashing import sha256_file
from lora_recipes.pipeline import ADAPTER, ENVIRONMENT, FIGURES, LOSSES, RECORD, SAMPLES
from pocket_training.evaluate import figures, verdict

GOLDEN = Path("tests/golden/pocket-demo.safetensors")

LOCK = "dvc.lock"

EARLY_STEPS = 60
"""Steps whose losses are compared one by one."""
EARLY_BOUND = 1e-5
"""The most by which one of them may differ, as a part of the recorded loss."""
DRIFT_BOUND = 0.9
"""The most by which the adapter's ΔW may differ, as a part of the golden one's (L2 norms)."""

MOVED_BY_THE_CPU = {LOCK, LOSSES, RECORD, ENVIRONMENT, FIGURES}
"""Tracked files that another CPU may change, and …"""
NOT_MOVED_BY_THE_CPU = ("resolve", "prior", "dataset", "prepare")
"""… stages that give the same bytes on every CPU."""

SHOWN = 60
"""Letters of an entry of a record that are shown; a CPU's instructions are many."""

HOW_TO_GO_ON = "`make repro` on a clean checkout, then `make prove`"


def prove(root: Path) -> list[str]:
    """What can be said of the demo that was just trained, line by line; the first is the answer.

    Raises:
        UserError: it is neither the record's to the bit nor within the bounds; all reasons.
        CannotTell: there is no training to look at, or no commit to hold it against.
    """
    if not (root / ADAPTER).is_file():
        raise CannotTell.of(where=ADAPTER, what="is not there", fix=HOW_TO_GO_ON)
    changed = [line[3:] for line in _git(root, "status", "--porcelain", "-uall").splitlines()]
    if not changed:
        _check_golden(root)
        return ["identical: dvc.lock is unchanged, every tracked output repeats byte for byte"]
    record, here = _committed(root, ENVIRONMENT), _now(root, ENVIRONMENT)
    moved = differing(_environment(record), _environment(here))
    problems = [*_not_of_the_cpu(root, changed), *([] if moved else [_not_identical(changed)])]
    lines, more = _held_against_bounds(root)
    if problems or more:
        raise UserError([*problems, *more])
    answer = "within the bounds for another kind of machine, not identical:"
    return [answer, *(f"  {line}" for line in [*moved, *lines])]


def renew(root: Path) -> str:
    """Make the adapter in `out/` the golden one; what was done.

    Raises:
        UserError: DVC says that `out/` is not what the recipe gives.
        CannotTell: DVC cannot be asked.
    """
    stale = json.loads(_output(root, sys.executable, "-m", "dvc", "status", "--json") or "{}")
    if stale:
        what = f"out/ is not up to date: {', '.join(sorted(stale))}"
        raise UserError.of(what=what, fix="`make repro`, then `make golden`")
    write_bytes(root / GOLDEN, (root / ADAPTER).read_bytes())
    return f"{GOLDEN}: {sha256_file(root / GOLDEN)}"


def early_difference(recorded: str, now: str) -> float:
    """The largest relative difference of a loss in the first steps of two loss.tsv."""
    pairs = zip(_losses(recorded), _losses(now), strict=True)
    return max(abs(new - old) / old for old, new in pairs)


def differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """`key: then → now` of every entry in which two records differ; long ones by name alone."""
    lines = []
    for key in sorted(before.keys() | now.keys()):
        then, this = (str(record.get(key, "not recorded")) for record in (before, now))
        if then != this:
            short = max(len(then), len(this)) <= SHOWN
            lines.append(f"{key}: {then} → {this}" if short else f"{key}: others")
    return lines


def _held_against_bounds(root: Path) -> tuple[list[str], list[Problem]]:
    """Every figure beside its bound, and a problem for every one beyond."""
    from lora_recipes.formats.drift import drift

    early = early_difference(_committed(root, LOSSES), _now(root, LOSSES))
    apart = drift(root / GOLDEN, root / ADAPTER).delta_relative_l2
    base, adapter = (figures(root / SAMPLES, name) for name in ("none", "final"))
    missing = verdict(base, adapter)
    found = {
        f"losses of the first {EARLY_STEPS} steps: {early:.1e} apart, at most {EARLY_BOUND:.0e}": (
            early <= EARLY_BOUND
        ),
        f"ΔW: {apart:.2f} from the golden adapter's, at most {DRIFT_BOUND}": apart <= DRIFT_BOUND,
        f"pictures: the subject in {adapter.subject:.0%}, the asked background in "
        f"{adapter.background:.0%}" + "".join(f"; missing: {wish}" for wish in missing): (
            not missing
        ),
    }
    fix = "find what changed since the record: `git diff`, libraries, data, base"
    return list(found), [
        Problem(what=f"too far from the record: {line}", fix=fix)
        for line, good in found.items()
        if not good
    ]


def _not_of_the_cpu(root: Path, changed: list[str]) -> list[Problem]:
    """Files and stages that changed though no CPU changes them."""
    before, now = (_stages(text) for text in (_committed(root, LOCK), _now(root, LOCK)))
    others = [path for path in changed if path not in MOVED_BY_THE_CPU]
    others += [f"{LOCK}: {name}" for name in NOT_MOVED_BY_THE_CPU if before[name] != now[name]]
    what = f"changed, though no CPU changes it: {', '.join(others)}"
    fix = f"commit or undo your own edits, then {HOW_TO_GO_ON}"
    return [Problem(what=what, fix=fix)] if others else []


def _not_identical(changed: list[str]) -> Problem:
    return Problem(
        what="not identical, on the kind of machine that made the record: " + ", ".join(changed),
        fix="find what changed since the record: `git diff`, libraries, data, base",
    )


def _check_golden(root: Path) -> None:
    if sha256_file(root / GOLDEN) != sha256_file(root / ADAPTER):
        what = "is not the adapter that the record names"
        raise UserError.of(where=str(GOLDEN), what=what, fix="`make golden`, and commit it")


def _losses(table: str) -> list[float]:
    rows = table.splitlines()[1 : 1 + EARLY_STEPS]
    return [float(row.split("\t")[2]) for row in rows]


def _stages(lock: str) -> dict[str, Any]:
    return dict(YAML(typ="safe", pure=True).load(lock)["stages"])


def _environment(text: str) -> dict[str, Any]:
    around = json.loads(text)["environment"]
    return {**around, **around.pop("packages")}


def _now(root: Path, path: str) -> str:
    return (root / path).read_text("utf-8")


def _committed(root: Path, path: str) -> str:
    return _git(root, "show", f"HEAD:{path}")


def _git(root: Path, *arguments: str) -> str:
    return _output(root, "git", *arguments)


def _output(root: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        what = f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()}"
        raise CannotTell.of(what=what, fix=HOW_TO_GO_ON)
    return done.stdout


def main() -> int:
    """Print the answer; the exit code: 0 proven, 1 not, 2 cannot tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--renew", action="store_true", help="make out/'s adapter the golden one")
    chosen = parser.parse_args()
    try:
        print(renew(Path()) if chosen.renew else "\n".join(prove(Path())))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
