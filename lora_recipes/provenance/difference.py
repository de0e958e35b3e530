"""Two commits, or two adapters, side by side: what was done differently, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_recipes.dataset.pin import differences
from lora_recipes.formats.drift import Drift, drift
from lora_recipes.formats.header import text_of
from lora_recipes.formats.layout import NOT_STATED
from lora_recipes.printable import line
from lora_recipes.provenance.sides import Side, side
from lora_recipes.recipe.releases import Leaves
from lora_recipes.text import aligned

LONGEST = 10_000
"""Characters of a line: a stranger's header can hold a value of megabytes."""

MOST_LINES = 1000
"""Lines of one kind of difference."""

Changed = tuple[str, Any, Any]
"""Key, and its value on either side; None where one side does not have the key."""


@dataclass(frozen=True)
class Difference:
    """What differs; None where one of the two does not say."""

    before: Side
    after: Side
    recipe: tuple[Changed, ...] | None
    """Settings, in the sections that both speak of; of two files of other trainers, their headers'
    fields."""

    data: tuple[str, ...] | None
    """A line for each picture or caption, or one line that says why they are not known."""

    code: tuple[Changed, ...] | None
    """Stages whose code differs, and locked packages."""

    environment: tuple[Changed, ...] | None
    metrics: tuple[Changed, ...] | None
    tensors: Drift | None

    @property
    def no_tensors(self) -> str:
        """Why the tensors could not be compared."""
        why = (f"{s.name}: {s.no_adapter}" for s in (self.before, self.after) if s.no_adapter)
        return "\n".join(why)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = {
            name: NOT_STATED
            if (changes := getattr(self, name)) is None
            else {key: {"before": old, "after": new} for key, old, new in changes}
            for name in ("recipe", "code", "environment", "metrics")
        }
        return {
            "before": self.before.name,
            "after": self.after.name,
            **rows,
            "data": NOT_STATED if self.data is None else list(self.data),
            "tensors": self.tensors.as_dict() if self.tensors else self.no_tensors,
        }

    def text(self) -> str:
        """A block of lines for each kind of difference; equal ones are said in one line."""
        blocks = {
            "recipe": _rows(self.recipe, self._silent("recipe")),
            "images and captions": [self._silent("data")] if self.data is None else list(self.data),
            "code and packages": _rows(self.code, self._silent("code")),
            "environment": _rows(self.environment, self._silent("environment")),
            "metrics": _rows(self.metrics, self._silent("metrics")),
            "tensors": (self.tensors.table() if self.tensors else self.no_tensors).splitlines(),
        }
        lines = [f"{self.before.name} → {self.after.name}"]
        for title, found in blocks.items():
            lines += ["", title]
            lines += [f"  {line(text, LONGEST)}" for text in found[:MOST_LINES] or ["the same"]]
            if len(found) > MOST_LINES:
                lines.append(f"  and {len(found) - MOST_LINES:,} more; `--json` has all")
        return "\n".join(lines)

    def _silent(self, fact: str) -> str:
        """Which of the two does not state a fact."""
        sides = (s for s in (self.before, self.after) if getattr(s, fact) in (None, ""))
        return f"{NOT_STATED} by {' and '.join(s.name for s in sides)}"


def compare(root: Path, before: str, after: str) -> Difference:
    """Compare two things, each a commit, tag, branch, experiment or adapter file.

    Raises:
        CannotTell: nothing is called so.
        UserError: a file is cut off, or no safetensors file.
    """
    old, new = side(root, before), side(root, after)
    both = old.covers & new.covers
    return Difference(
        before=old,
        after=new,
        recipe=_changed(old.header, new.header)
        if old.recipe is None and new.recipe is None
        else _changed(_within(old.recipe, both), _within(new.recipe, both)),
        data=_data(old, new),
        code=_changed(old.code, new.code),
        environment=_changed(old.environment, new.environment),
        metrics=_changed(old.metrics, new.metrics),
        tensors=drift(old.adapter, new.adapter) if old.adapter and new.adapter else None,
    )


def _within(leaves: Leaves | None, sections: frozenset[str]) -> Leaves | None:
    if leaves is None:
        return None
    return {key: value for key, value in leaves.items() if key.partition(".")[0] in sections}


def _changed(old: Leaves | None, new: Leaves | None) -> tuple[Changed, ...] | None:
    if old is None or new is None:
        return None
    keys = [*old, *(key for key in new if key not in old)]
    return tuple((key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key))


def _data(old: Side, new: Side) -> tuple[str, ...] | None:
    if not (old.data and new.data):
        return None
    if old.data == new.data:
        return ()
    if old.images is not None and new.images is not None:
        return tuple(differences(old.images, new.images))
    unknown = " and ".join(s.name for s in (old, new) if s.images is None)
    return (
        f"{old.data} → {new.data}",
        f"which files differ is not known: no list of those of {unknown} is in the commit or in "
        "DVC's cache (`dvc fetch` there brings build/manifest.json)",
    )


def _rows(changes: tuple[Changed, ...] | None, silent: str) -> list[str]:
    if changes is None:
        return [silent]
    return aligned((key, f"{_shown(old)} → {_shown(new)}") for key, old, new in changes)


def _shown(value: Any) -> str:
    if isinstance(value, str) and value.startswith("sha256:"):
        return value[: len("sha256:") + 8]
    return "–" if value is None else text_of(value)
