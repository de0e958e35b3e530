"""What verifying a commit has found: as values, as JSON, and as text with the verdict first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from lora_recipes.errors import CannotTell
from lora_recipes.provenance.revision import Revision
from lora_recipes.text import aligned, first_few
from lora_recipes.tree import flat

if TYPE_CHECKING:
    from lora_recipes.formats.drift import Drift

REPRODUCED, NOT_REPRODUCED, CANNOT_TELL = "reproduced", "not reproduced", "cannot tell"
MOST_FILES = 5
"""So many of a folder's differing files are named."""


@dataclass(frozen=True)
class Output:
    """One output of a stage that was run again."""

    stage: str
    path: str
    then: str
    """The md5 that the commit's dvc.lock has for it."""

    now: str
    """The md5 of what came out this time."""

    same: bool | None
    """None: it was not compared, for the reason in `note`."""

    note: str = ""
    files: tuple[str, ...] = ()
    """Of a folder: which of its files differ, as far as the cache knows the old ones."""


@dataclass(frozen=True)
class Verdict:
    """What came out of a commit that was run again."""

    revision: Revision
    outputs: tuple[Output, ...]
    then: Mapping[str, Any]
    """The environment that the commit's training recorded; empty if it did not."""

    now: Mapping[str, Any]
    """The environment of the run that was made to verify it."""

    drift: Mapping[str, Drift] = field(default_factory=dict)
    """By path, of each adapter that differs and whose old bytes the cache still has."""

    notes: tuple[str, ...] = ()

    @property
    def differing(self) -> tuple[Output, ...]:
        """The outputs that are not what the commit says."""
        return tuple(output for output in self.outputs if output.same is False)

    @property
    def word(self) -> str:
        """`reproduced` or `not reproduced`."""
        return NOT_REPRODUCED if self.differing else REPRODUCED

    def environment(self) -> list[tuple[str, Any, Any]]:
        """Each fact of the environment by dotted name, then and now; None where it is unknown."""
        then, now = flat(self.then), flat(self.now)
        return [(name, then.get(name), now.get(name)) for name in {**then, **now}]

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON's values."""
        facts = self.environment()
        return {
            "verdict": self.word,
            "name": self.revision.name,
            "kind": self.revision.kind,
            "commit": self.revision.commit,
            "outputs": [{**asdict(output), "files": list(output.files)} for output in self.outputs],
            "drift": {path: drift.as_dict() for path, drift in self.drift.items()},
            "environment": {
                "then": dict(self.then),
                "now": dict(self.now),
                "differs": [name for name, then, now in facts if then != now],
            },
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """The verdict in the first line; what differs and where below it."""
        rows = [(output.stage, output.path, _found(output)) for output in self.outputs]
        lines = [self._headline(), *aligned(rows, indent="  ")]
        for path, drift in self.drift.items():
            lines += [
                "",
                f"drift of {path}",
                *(f"  {line}".rstrip() for line in drift.table().splitlines()),
            ]
        if self.differing or self.then != self.now:
            lines += ["", *_environment(self.environment())]
        if self.notes:
            lines += ["", *(f"note: {note}" for note in self.notes)]
        return "\n".join(lines)

    def _headline(self) -> str:
        named = str(self.revision)
        if self.revision.kind != "commit":
            named += f" ({self.revision.commit[:10]})"
        stages = ", ".join(dict.fromkeys(output.stage for output in self.outputs))
        if not self.differing:
            return f"{REPRODUCED}: {named} gives the same bytes again ({stages})"
        compared = sum(output.same is not None for output in self.outputs)
        return (
            f"{NOT_REPRODUCED}: {named}: "
            f"{len(self.differing)} of {compared} outputs differ ({stages})"
        )


def cannot_tell(name: str, error: CannotTell) -> dict[str, Any]:
    """The JSON of a question that has no answer, and why."""
    return {
        "verdict": CANNOT_TELL,
        "name": name,
        "problems": [
            {"where": p.where, "what": p.what, "allowed": p.allowed, "fix": p.fix}
            for p in error.problems
        ],
    }


def _found(output: Output) -> str:
    if output.same is None:
        return f"not compared: {output.note}"
    if output.same:
        return f"identical  {output.then[:8]}" + (f"  {output.note}" if output.note else "")
    files = f"  in {first_few(output.files, MOST_FILES)}" if output.files else ""
    return f"DIFFERS    {output.then[:8]} -> {output.now[:8] or 'nothing'}{files}"


def _environment(facts: list[tuple[str, Any, Any]]) -> Iterator[str]:
    if not facts:
        yield "environment: the commit does not say on what it was trained"
        return
    rows = [("environment", "then", "now")]
    rows += [
        (name, _shown(then), "same" if then == now else _shown(now)) for name, then, now in facts
    ]
    for (*_, now), line in zip(rows, aligned(rows), strict=True):
        yield f"{' ' if now in ('now', 'same') else '*'} {line}"


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
