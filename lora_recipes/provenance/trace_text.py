"""What trace has found, for people: the commits, and the command that goes to each."""

from __future__ import annotations

from collections.abc import Iterator

from lora_recipes.printable import line
from lora_recipes.provenance.revision import Ref
from lora_recipes.provenance.trace import BYTES, RECIPE, SNAPSHOT, TENSORS, Origin, Trace
from lora_recipes.text import first_few

SHOWN = 10
"""Commits, names or fields in a list; the rest is counted."""

_HOW = {
    BYTES: "is {output}, byte for byte",
    SNAPSHOT: "is the snapshot {output}, byte for byte",
    TENSORS: "holds the tensors of {output}, number by number, under another header",
    RECIPE: "was made with the recipe of {output}, but the file differs",
}

_BEST = ("tag", "branch", "experiment")
"""Which name of a commit is told first: a tag stays where it is."""

COMMIT_IT = "git add -A && git commit"


def text(found: Trace) -> str:
    """A few lines for each commit, newest first."""
    lines = [f"{found.file} {_HOW[found.how].format(output=found.output)}"]
    if found.how == RECIPE:
        lines += [f"  {line}" for line in _apart(found)]
    if found.header_changes:
        lines += [f"  header: {first_few([*map(line, found.header_changes)], SHOWN)}"]
    lines.append("")
    for origin in found.origins[:SHOWN]:
        lines += _origin(origin)
    if len(found.origins) > SHOWN:
        lines.append(f"… and {len(found.origins) - SHOWN:,} older commits")
    if not found.origins:
        lines += ["made in this working tree and in no commit yet", f"  {COMMIT_IT}"]
    if found.standing:
        lines += [
            "",
            f"it stands so at: {first_few([_name(ref) for ref in found.standing], SHOWN)}",
        ]
    elif found.origins:
        lines += ["", "it stands so at no branch, tag or experiment: a later commit replaced it"]
    return "\n".join(lines)


def _apart(found: Trace) -> Iterator[str]:
    if found.drift is None:
        yield "how far its tensors are off cannot be told: DVC's cache does not hold the original"
        yield "(go to the commit as told below, then `dvc pull`, or without a remote `dvc repro`)"
    else:
        yield from found.drift.table().splitlines()


def _origin(origin: Origin) -> Iterator[str]:
    commit = origin.commit
    refs = sorted(origin.refs, key=lambda ref: _BEST.index(ref.kind) if ref.kind in _BEST else 9)
    named = f"  ({first_few([_name(ref) for ref in refs], SHOWN)})" if refs else ""
    yield f"{commit.id[:10]}  {commit.date}  {commit.subject}{named}"
    best = refs[0] if refs else None
    if best is not None and best.kind == "experiment":
        yield f"  dvc exp apply {best.short}    (or: dvc exp branch {best.short} NEW-BRANCH)"
    else:
        there = best.short if best is not None and best.kind in _BEST else commit.id[:10]
        yield f"  git checkout {there} && dvc checkout"


def _name(ref: Ref) -> str:
    return f"{ref.kind} {ref.short}"
