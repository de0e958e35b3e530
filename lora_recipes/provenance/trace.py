"""From an adapter file back to the commits that made it.

Asked in this order, and the first answer counts: is it the same file, byte for byte; a snapshot of
a training; the same tensors under another header; at least the same recipe?
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lora_recipes.adapter.metadata import recipe_hash
from lora_recipes.errors import CannotTell
from lora_recipes.formats.arrays import Array, read_arrays
from lora_recipes.formats.drift import Drift, drift
from lora_recipes.formats.hashes import short_hash, short_recipe, short_tensors
from lora_recipes.formats.header import recipe_of
from lora_recipes.pipeline import ADAPTER, SNAPSHOTS, TRAINED_SECTIONS
from lora_recipes.provenance.history import (
    FILES,
    LOCK,
    Commit,
    History,
    LockFacts,
    Predicate,
    read_history,
    says_of,
)
from lora_recipes.provenance.objects import Objects, file_md5
from lora_recipes.provenance.revision import Ref
from lora_recipes.provenance.worktree import cache_folder
from lora_recipes.recipe.releases import nested, said
from lora_recipes.tensors import Header, read_header
from lora_recipes.text import counted

BYTES, SNAPSHOT, TENSORS, RECIPE = "bytes", "snapshot", "tensors", "recipe"


@dataclass(frozen=True)
class Origin:
    """A commit that made the file."""

    commit: Commit
    refs: tuple[Ref, ...]
    """Branches, tags and experiments that stand at this very commit."""


@dataclass(frozen=True)
class Trace:
    """Where an adapter file comes from."""

    file: str
    how: str
    """`bytes`, `snapshot`, `tensors` or `recipe`: what the file has in common with its origin."""

    output: str
    """Which of the training's files it is, or was made from: a path in the project."""

    origins: tuple[Origin, ...]
    """Newest first. Empty where it stands in the working tree and no commit holds it yet."""

    standing: tuple[Ref, ...]
    """Branches, tags and experiments at which it still is so."""

    drift: Drift | None
    """How far the file is from the newest origin's, where only tensors or recipe agree; None where
    DVC's cache does not hold that one."""

    header_changes: tuple[str, ...]
    """Fields of the header that are not the origin's, where the cache holds that one."""


def trace(root: Path, file: Path) -> Trace:
    """Find the commits that made an adapter.

    Raises:
        UserError: the file is missing, cut off, or no safetensors file.
        CannotTell: no commit that git knows here made it; says what was looked at.
    """
    header, arrays = read_arrays(file)
    search = _Search(root, file, header, arrays, read_history(root))
    for how, output, holds in search.questions():
        found = search.answer(how, output, holds)
        if found:
            return found
    raise search.nothing()


@dataclass
class _Search:
    root: Path
    file: Path
    header: Header
    arrays: dict[str, Array]
    history: History

    @cached_property
    def md5(self) -> str:
        return file_md5(self.file)

    @cached_property
    def tensors(self) -> str:
        return short_tensors(self.arrays)

    @cached_property
    def recipe(self) -> str:
        return short_recipe(self.header.metadata)

    @cached_property
    def recipes(self) -> frozenset[str]:
        """The recipe's hash as the file has it, and as this release would write it."""
        leaves = recipe_of(self.header.metadata)
        sections = {key: leaves[key] for key in leaves if key.partition(".")[0] in TRAINED_SECTIONS}
        facts = [str(leaves.get(key, "")) for key in ("base_identity", "manifest")]
        today = short_hash(recipe_hash(nested(said(sections)), *facts))
        return frozenset([self.recipe, today])

    @cached_property
    def objects(self) -> Objects:
        return Objects(cache_folder(self.root))

    @cached_property
    def listings(self) -> dict[str, dict[str, str] | None]:
        """Of every snapshot folder of the history: md5 by name; None where the cache lacks it."""
        facts = [*self.history.says.values(), *self._working_tree()]
        known = sorted({says.snapshots for says in facts if says.snapshots})
        return {md5: self.objects.listing(md5) for md5 in known}

    def questions(self) -> Iterator[tuple[str, str, Predicate]]:
        """What to ask of the history, in order; a question costs nothing before it is asked."""
        yield BYTES, ADAPTER, lambda says: says.adapter == self.md5
        folders = {md5 for md5, files in self.listings.items() if self._snapshot(files)}
        if folders:
            name = next(filter(None, (self._snapshot(self.listings[md5]) for md5 in folders)))
            yield SNAPSHOT, f"{SNAPSHOTS}/{name}", lambda says: says.snapshots in folders
        yield TENSORS, ADAPTER, lambda says: says.tensors == self.tensors
        if self.recipe:
            yield RECIPE, self._output_of_recipe(), lambda says: says.recipe in self.recipes

    def answer(self, how: str, output: str, holds: Predicate) -> Trace | None:
        commits = self.history.makers(holds)
        if not commits and not any(map(holds, self._working_tree())):
            return None
        original = self._original(commits, output) if how in (TENSORS, RECIPE) else None
        apart = drift(original, self.file) if original else None
        same = apart is not None and apart.is_none
        return Trace(
            file=str(self.file),
            how=TENSORS if same else how,
            output=output,
            origins=tuple(
                Origin(commit, tuple(t.ref for t in self.history.tips if t.ref.commit == commit.id))
                for commit in commits
            ),
            standing=tuple(self.history.standing(holds)),
            drift=apart,
            header_changes=tuple(_header_changes(original, self.header)) if original else (),
        )

    def nothing(self) -> CannotTell:
        """Why the question stays open: what was looked at, and what was not there to look at."""
        history = self.history
        kinds = [tip.ref.kind for tip in history.tips]
        names = ", ".join(
            counted(kinds.count(kind), kind, plural)
            for kind, plural in (
                ("branch", "branches"), ("tag", "tags"), ("experiment", "experiments"),
            )
        )  # fmt: skip
        looked = [
            f"looked at {counted(len(history.commits), 'commit')} that changed "
            f"{', '.join(FILES[:-1])} or {FILES[-1]}, in {names}",
            f"  by its bytes (md5 {self.md5}), as adapter or snapshot",
            f"  by its tensors ({self.tensors})",
            f"  by its recipe ({self.recipe})"
            if self.recipe
            else "  its header names no recipe of lora-recipes",
        ]
        return CannotTell.of(
            where=str(self.file),
            what="\n".join(["no commit here made this file", *looked, *self._gaps()]),
            fix="`git fetch --all --tags` and `dvc exp pull` bring commits and experiments "
            "that were made elsewhere",
        )

    def _gaps(self) -> Iterator[str]:
        if self.history.shallow:
            yield "  this clone holds a part of the history: `git fetch --unshallow --tags`"
        missing = sum(files is None for files in self.listings.values())
        if missing:
            yield (
                f"  the lists of snapshots of {counted(missing, 'training')} are not "
                "in DVC's cache: `dvc fetch --all-commits`"
            )
        locks = {v for c in self.history.commits for name, _, v in c.changes if name == LOCK}
        silent = sum(not self.history.says[v].adapter for v in locks if v in self.history.says)
        if silent:
            yield (
                f"  {counted(silent, 'version')} of {LOCK} named no adapter: from before the "
                "training, empty or cut off"
            )
        bare = sum(says.unhashed for says in self.history.says.values())
        if bare:
            yield (
                f"  {counted(bare, 'record')} of training kept no hash of the tensors: "
                "compared by bytes alone"
            )

    def _working_tree(self) -> list[LockFacts]:
        files = [self.root / name for name in FILES]
        return [says_of(file.read_bytes()) for file in files if file.is_file()]

    def _snapshot(self, files: dict[str, str] | None) -> str:
        """The name under which a snapshot folder holds the file, if it does."""
        return next((name for name, md5 in (files or {}).items() if md5 == self.md5), "")

    def _output_of_recipe(self) -> str:
        step = self.header.metadata.get("lora_recipes.step", "")
        return f"{SNAPSHOTS}/step-{int(step):06d}.safetensors" if step.isdigit() else ADAPTER

    def _original(self, commits: list[Commit], output: str) -> Path | None:
        """The origin's file in the cache, if it is there and sound; of the newest commit."""
        for commit in commits:
            locks = [new for name, _, new in commit.changes if name == LOCK]
            says = self.history.says.get(locks[0]) if locks else None
            md5 = says.adapter if says else ""
            if says and output != ADAPTER:
                listing = self.objects.listing(says.snapshots) if says.snapshots else None
                md5 = (listing or {}).get(output.removeprefix(f"{SNAPSHOTS}/"), "")
            return self.objects.path(md5) if md5 and not self.objects.look(output, md5) else None
        return None


def _header_changes(original: Path, header: Header) -> Iterator[str]:
    before, after = read_header(original).metadata, header.metadata
    for word, names in (
        ("gone", before.keys() - after.keys()),
        ("new", after.keys() - before.keys()),
        ("changed", {name for name in before.keys() & after.keys() if before[name] != after[name]}),
    ):
        yield from (f"{word}: {name}" for name in sorted(names))
