"""The outputs of a run beside what a commit's dvc.lock says of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lora_recipes.files import read_bytes
from lora_recipes.pipeline import PAGE, RECORD
from lora_recipes.provenance.lock import Lock
from lora_recipes.provenance.objects import Objects, folder_listing
from lora_recipes.provenance.verdict import Output

SHOWS_ENVIRONMENT = PAGE
"""The page prints the environment, so it differs wherever that does."""


@dataclass(frozen=True)
class TrainingRecord:
    """The content of out/train.json; empty where a commit has none."""

    figures: dict[str, Any]
    environment: dict[str, Any]


def read_record(root: Path) -> TrainingRecord:
    """The training's record in a project's folder."""
    try:
        values = json.loads(read_bytes(root / RECORD))
        environment = values.pop("environment", {})
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return TrainingRecord({}, {})
    return TrainingRecord(values, environment)


def compare(
    root: Path,
    then: TrainingRecord,
    *,
    before: Lock,
    after: Lock,
    names: Iterable[str],
    objects: Objects,
) -> tuple[Output, ...]:
    """Each output of the stages that ran again, by hash.

    The record is compared by its figures: its environment describes the machine, not the result.

    Args:
        root: where they ran.
        then: the commit's own record, before the run replaced it.
        before: the commit's lock.
        after: the lock that the run wrote.
        names: the stages that ran.
        objects: the cache, which may still know a folder's old files.
    """
    now = read_record(root)
    outputs = []
    for name in names:
        for path, was in before[name].outs.items():
            output = Output(name, path, was, after[name].outs.get(path, ""), None)
            outputs.append(_judged(output, root, then, now, objects))
    return tuple(outputs)


def _judged(
    output: Output, root: Path, then: TrainingRecord, now: TrainingRecord, objects: Objects
) -> Output:
    if output.then == output.now:
        return replace(output, same=True)
    if output.path == RECORD:
        if not then.figures:
            return replace(output, note="the commit does not hold it, and it names the machine")
        same = then.figures == now.figures
        note = "all figures; the environment is another" if same else ""
        return replace(output, same=same, note=note)
    if output.path == SHOWS_ENVIRONMENT and then.environment != now.environment:
        return replace(output, note="the page shows the environment, which is another")
    return replace(output, same=False, files=_differing_files(output, root, objects))


def _differing_files(output: Output, root: Path, objects: Objects) -> tuple[str, ...]:
    """Of a folder: the files that are other, new or gone."""
    was = objects.listing(output.then) if output.then.endswith(".dir") else None
    if was is None:
        return ()
    is_now = folder_listing(root / output.path)
    return tuple(name for name in sorted(was | is_now) if was.get(name) != is_now.get(name))
