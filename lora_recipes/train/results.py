"""The files of a finished training. All of them repeat: no time, speed or host."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import fmean
from typing import Any

from lora_recipes import files
from lora_recipes.encode.store import Example
from lora_recipes.files import atomic_file, remove_temporaries, write_text
from lora_recipes.formats.hashes import identity
from lora_recipes.hashing import sha256_file
from lora_recipes.train.job import Job, Outcome
from lora_recipes.train.validation import base_and_adapter

OUTPUTS = ("adapter.safetensors", "snapshots", "loss.tsv", "train.json")
"""What a training writes below `out`."""

SMOOTHED_PART = 10
"""The smoothed loss is the mean over the last tenth of the steps."""


def all_or_nothing(out: Path) -> AbstractContextManager[None]:
    """Old outputs go first, and if anything fails no new one stays."""
    for name in OUTPUTS:
        remove_temporaries(out, name, older_than=0)
    return files.all_or_nothing(*(out / name for name in OUTPUTS))


def write_outputs(
    out: Path,
    job: Job,
    outcome: Outcome,
    unseen: Mapping[str, Sequence[Example]],
    environment: Mapping[str, Any],
) -> None:
    """Write all files of a finished training.

    Args:
        out: the folder, without any of `OUTPUTS`.
        job: what was trained.
        outcome: how it went.
        unseen: pictures that were not trained on, by role; roles without pictures are left out.
        environment: under which the bytes repeat.
    """
    losses = {
        role: base_and_adapter(
            job.denoiser,
            job.adapted,
            job.objective,
            job.pictures.of(images),
            job.stream.batch_size,
        )
        for role, images in unseen.items()
        if images
    }
    (out / "snapshots").mkdir(parents=True)
    for step in sorted(job.snapshots):
        snapshot = job.checkpoints.snapshot_path(step)
        _copy(snapshot, out / "snapshots" / snapshot.name)
    write_text(out / "loss.tsv", loss_table(outcome, job))
    job.write_adapter(out / "adapter.safetensors", None)
    adapter = {
        "adapter_sha256": sha256_file(out / "adapter.safetensors"),
        **identity(out / "adapter.safetensors"),
    }
    figures = metrics(outcome, job) | losses
    _write_json(out / "train.json", {**figures, **adapter, "environment": dict(environment)})


def loss_table(outcome: Outcome, job: Job) -> str:
    """`loss.tsv`: step, epoch, loss and learning rate of every optimizer step.

    Steps and epochs count from 1; a step belongs to its last sample's epoch. Numbers are written
    so that reading them gives the same number back.
    """
    stream = job.stream
    rows = ["step\tepoch\tloss\tlearning_rate\n"]
    for step, loss in enumerate(outcome.losses):
        epoch = stream.epoch_of(step) + 1
        rows.append(f"{step + 1}\t{epoch}\t{loss!r}\t{job.rate(step)!r}\n")
    return "".join(rows)


def metrics(outcome: Outcome, job: Job) -> dict[str, Any]:
    """The figures of `train.json` that the training itself gives."""
    losses = outcome.losses
    return {
        "epochs": job.stream.samples / job.stream.epoch_length,
        "loss_final": losses[-1],
        "loss_smoothed": fmean(losses[-max(1, len(losses) // SMOOTHED_PART) :]),
        "samples": job.stream.samples,
        "skipped_steps": outcome.skipped,
        "steps": job.stream.steps,
    }


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as old, atomic_file(target) as new:
        shutil.copyfileobj(old, new)


def _write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
