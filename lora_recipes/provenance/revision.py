"""From what the user calls it to a commit: a hash, tag, branch or DVC experiment."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lora_recipes.errors import CannotTell
from lora_recipes.provenance.processes import ask_git, git
from lora_recipes.recipe.near import did_you_mean

KINDS = (
    ("branch", re.compile(r"refs/heads/(.+)")),
    ("tag", re.compile(r"refs/tags/(.+)")),
    ("branch", re.compile(r"refs/remotes/(.+)(?<!/HEAD)")),
    ("experiment", re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(.+)")),
)
"""Where git and DVC keep names. DVC's own marks (`refs/exps/exec/…`, the queue's) are none."""

HASH = re.compile(r"[0-9a-f]{4,40}")


@dataclass(frozen=True)
class Revision:
    """A commit, and what it was called."""

    commit: str
    name: str
    kind: str
    """commit, tag, branch or experiment."""

    def __str__(self) -> str:
        return self.commit[:10] if self.kind == "commit" else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Ref:
    """A name that git keeps for a commit."""

    full: str
    short: str
    kind: str
    commit: str


def resolve_revision(root: Path, name: str) -> Revision:
    """The commit that a name means.

    Raises:
        CannotTell: nothing is called so, or several things are.
    """
    refs = named_refs(root)
    found = [ref for ref in refs if name in (ref.short, ref.full)]
    if len({ref.commit for ref in found}) > 1:
        raise _ambiguous(name, (ref.full for ref in found))
    if found:
        return Revision(found[0].commit, name, found[0].kind)
    if commit := _commit(root, name):
        return Revision(commit, name, "commit")
    alike = _commits_starting(root, name)
    if len(alike) > 1:
        raise _ambiguous(name, alike)
    raise CannotTell.of(
        what=f"nothing is called {name}",
        allowed="a commit, tag, branch or DVC experiment of this repository",
        fix=did_you_mean(name, (ref.short for ref in refs), _look(root)),
    )


def named_refs(root: Path) -> list[Ref]:
    """All branches, tags and experiments with the commits that they stand for.

    Raises:
        CannotTell: this is no git repository.
    """
    listed = git(root, "for-each-ref", "--format=%(refname) %(objectname) %(*objectname)")
    refs = []
    for line in listed.splitlines():
        full, *objects = line.split()  # an annotated tag names the commit that it peels to, last
        for kind, pattern in KINDS:
            if match := pattern.fullmatch(full):
                refs.append(Ref(full, match[1], kind, objects[-1]))
    return refs


def _commit(root: Path, name: str) -> str:
    """What git itself makes of a name (`HEAD~2`, a short hash), or nothing."""
    done = ask_git(
        root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
    )
    return done.out.strip() if done.code == 0 else ""


def _commits_starting(root: Path, name: str) -> list[str]:
    if not HASH.fullmatch(name):
        return []
    found = ask_git(root, "rev-parse", f"--disambiguate={name}").out.split()
    return sorted(full for full in found if _commit(root, full))


def _ambiguous(name: str, candidates: Iterable[str]) -> CannotTell:
    return CannotTell.of(
        what=f"{name} means more than one commit",
        allowed="one of " + ", ".join(candidates),
        fix="name it in full",
    )


def _look(root: Path) -> str:
    if git(root, "rev-parse", "--is-shallow-repository") == "true":
        return "this clone holds a part of the history: `git fetch --unshallow --tags`"
    return "`git log --oneline --all` and `dvc exp list --all-commits` show what there is"
