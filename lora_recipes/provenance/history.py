"""What every commit's dvc.lock and records say of its adapter, read with few processes.

Thousands of commits are asked at once: `git log --raw` names the versions of these files, one
`git cat-file --batch` reads each version once. A lock is searched, not parsed: YAML would take
minutes. DVC writes it in one form, which the search relies on.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lora_recipes.errors import CannotTell
from lora_recipes.git import git_environment
from lora_recipes.pipeline import ADAPTER, ENVIRONMENT, RECORD, SNAPSHOTS
from lora_recipes.provenance.processes import ask_git, git
from lora_recipes.provenance.revision import Ref, named_refs

LOCK = "dvc.lock"
FILES = (LOCK, ENVIRONMENT, RECORD)
"""What is asked; the last held the hashes in earlier releases."""

_NOT_HISTORY = ("refs/stash", "refs/exps/exec/*", "refs/exps/stash", "refs/exps/celery/*")
"""Refs whose commits nobody made on purpose: DVC's marks and queue, git's stash."""

_NEXT, _OUTS = re.compile(rb"^  \S", re.MULTILINE), b"\n    outs:\n"
"""In dvc.lock: where the next stage begins, and where a stage's outputs do."""


@dataclass(frozen=True)
class LockFacts:
    """What one version of one of the files says; empty where it says nothing."""

    adapter: str = ""
    """md5 of out/adapter.safetensors, from the lock."""

    snapshots: str = ""
    """md5 of the listing of out/snapshots, with `.dir`, from the lock."""

    tensors: str = ""
    """Short hash of the adapter's tensors, from the record."""

    recipe: str = ""
    """Short hash of the recipe's identity, from the record."""

    unhashed: bool = False
    """It is a record of the time before records kept those hashes."""


Predicate = Callable[[LockFacts], bool]


@dataclass(frozen=True)
class Commit:
    """One commit that changed one of the files."""

    id: str
    date: str
    """Day on which it was committed, YYYY-MM-DD."""

    subject: str
    parents: int
    changes: tuple[tuple[str, str, str], ...]
    """(file, version before, version after), once for each parent that had another version."""


@dataclass(frozen=True)
class Tip:
    """A branch, tag, experiment or HEAD, and its versions of the files."""

    ref: Ref
    versions: tuple[str, ...]


@dataclass(frozen=True)
class History:
    """All commits that git has a name for, as far as they say something of an adapter."""

    commits: tuple[Commit, ...]
    """Newest first."""

    tips: tuple[Tip, ...]
    says: dict[str, LockFacts]
    """By version of a file."""

    shallow: bool
    """Whether this clone holds a part of the history only."""

    def makers(self, holds: Predicate) -> list[Commit]:
        """The commits in which a version that holds came to be, newest first.

        A commit that only keeps what a parent had, as a merge does, has not made it.
        """
        return [commit for commit in self.commits if self._made(commit, holds)]

    def version(self, commit: Commit, holds: Predicate) -> LockFacts:
        """What the version that holds says, in a commit that made it."""
        return next(
            self.says[after]
            for _, _, after in commit.changes
            if after in self.says and holds(self.says[after])
        )

    def standing(self, holds: Predicate) -> list[Ref]:
        """The branches, tags and experiments at which it still is so."""
        return [tip.ref for tip in self.tips if any(map(self._holding(holds), tip.versions))]

    def _made(self, commit: Commit, holds: Predicate) -> bool:
        holding = self._holding(holds)
        if any(holding(old) for _, old, _ in commit.changes):
            return False  # the hashes may have moved from one record to the other
        for file in FILES:
            versions = [new for name, _, new in commit.changes if name == file]
            if len(versions) == max(1, commit.parents) and all(map(holding, versions)):
                return True
        return False

    def _holding(self, holds: Predicate) -> Callable[[str], bool]:
        return lambda version: version in self.says and holds(self.says[version])


def read_history(root: Path) -> History:
    """Read what all commits say; refs of experiments and remote branches too.

    Raises:
        CannotTell: this is no git repository.
    """
    commits = tuple(_commits(root))
    tips = _tips(root)
    versions = {
        version for commit in commits for change in commit.changes for version in change[1:]
    }
    versions |= {version for tip in tips for version in tip.versions}
    return History(
        commits=commits,
        tips=tips,
        says=dict(_read(root, sorted(v for v in versions if v.strip("0")))),
        shallow=git(root, "rev-parse", "--is-shallow-repository") == "true",
    )


def says_of(content: bytes) -> LockFacts:
    """What a version of one of the files says."""
    if content.lstrip()[:1] == b"{":
        return _says_record(content)
    outs = _outs(content, "train")
    return LockFacts(adapter=_md5(outs, ADAPTER), snapshots=_md5(outs, SNAPSHOTS))


def output_md5(lock: bytes, stage: str, path: str) -> str:
    """The md5 of a stage's output in a dvc.lock; empty if there is none."""
    return _md5(_outs(lock, stage), path)


def _outs(lock: bytes, name: str) -> bytes:
    stage = lock.partition(f"\n  {name}:\n".encode())[2]
    later = _NEXT.search(stage)
    return stage[: later.start() if later else None].partition(_OUTS)[2]


def _says_record(content: bytes) -> LockFacts:
    try:
        record = json.loads(content)
        return LockFacts(
            tensors=str(record.get("tensors_sha256", "")),
            recipe=str(record.get("recipe_sha256", "")),
            unhashed="environment" in record and "tensors_sha256" not in record,
        )
    except ValueError:
        return LockFacts()


def _md5(outs: bytes, path: str) -> str:
    entry = rb"    - path: " + re.escape(path.encode()) + rb"\n(?:      hash: md5\n)?      md5: "
    found = re.search(entry + rb"([0-9a-f]{32}(?:\.dir)?)\n", outs)
    return found[1].decode() if found else ""


def _commits(root: Path) -> Iterator[Commit]:
    """Side branches too that a merge left no trace of; merges against each parent."""
    text = git(
        root,
        *("log", "--full-history", "-m", "--raw", "--no-abbrev", "--no-renames", "--relative"),
        *("--format=%x01%H %cs %P%x02%s", *(f"--exclude={ref}" for ref in _NOT_HISTORY), "--all"),
        *("--", *FILES),
    )
    merged: dict[str, Commit] = {}
    for entry in text.split("\x01")[1:]:
        head, _, rest = entry.partition("\x02")
        subject, *lines = rest.split("\n")
        identity, date, *parents = head.split()
        changes = tuple(_change(line) for line in lines if line.startswith(":"))
        before = merged[identity].changes if identity in merged else ()
        merged[identity] = Commit(identity, date, subject, len(parents), before + changes)
    yield from merged.values()


def _change(line: str) -> tuple[str, str, str]:
    """`:100644 100644 <old> <new> M<tab>dvc.lock`; a file that is not there has zeros."""
    fields, _, file = line.partition("\t")
    _, _, old, new, _ = fields.split()
    return file, old, new


def _tips(root: Path) -> tuple[Tip, ...]:
    refs = named_refs(root)
    head = ask_git(root, "rev-parse", "--verify", "--quiet", "HEAD").out.strip()
    if head and head not in {ref.commit for ref in refs}:
        refs.append(Ref("HEAD", "HEAD", "detached", head))
    prefix = git(root, "rev-parse", "--show-prefix")
    wanted = [f"{ref.commit}:{prefix}{file}" for ref in refs for file in FILES]
    # `<hash> blob <size>`, or `<what was asked> missing`
    found = [
        line.split()[0].decode() for line in _batch(root, "--batch-check", wanted).splitlines()
    ]
    by_file = [found[number :: len(FILES)] for number in range(len(FILES))]
    return tuple(
        Tip(ref, tuple(version for version in versions if ":" not in version))
        for ref, *versions in zip(refs, *by_file, strict=True)
    )


def _read(root: Path, versions: list[str]) -> Iterator[tuple[str, LockFacts]]:
    """Each version's statement; answers come as `<hash> blob <size>`, newline, bytes, newline."""
    answers = _batch(root, "--batch", versions)
    place = 0
    while place < len(answers):
        end = answers.index(b"\n", place)
        version, kind, *size = answers[place:end].decode().split()
        place = end + 1
        if kind == "blob":  # else `missing`, in a partial clone
            yield version, says_of(answers[place : place + int(size[0])])
            place += int(size[0]) + 1


def _batch(root: Path, mode: str, wanted: Iterable[str]) -> bytes:
    """Ask `git cat-file` for many objects in one process.

    Raises:
        CannotTell: git fails.
    """
    with tempfile.TemporaryFile() as questions:
        questions.write("".join(f"{name}\n" for name in wanted).encode())
        questions.seek(0)
        done = subprocess.run(
            ["git", "cat-file", mode],
            cwd=root,
            env=git_environment(),
            stdin=questions,
            capture_output=True,
            check=False,
        )
    if done.returncode:
        raise CannotTell.of(
            what=f"git cat-file failed: {done.stderr.decode(errors='replace').strip()}",
            fix="`git fsck` tells what is wrong with this repository",
        )
    return done.stdout
