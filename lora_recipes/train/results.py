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
from lora_recipes.errors import UserError
from lora_recipes.files import atomic_file, remove_temporaries, write_text, writing
from lora_recipes.formats.hashes import identity
from lora_recipes.hashing import sha256_file
from lora_recipes.pipeline import ADAPTER, ENVIRONMENT, LOSSES, RECORD, SNAPSHOTS, stage
from lora_recipes.tensors import read_tensors
from lora_recipes.train.job import Job, Outcome
from lora_recipes.train.validation import base_and_adapter, mean_loss

OUTPUTS = tuple(output.path for output in stage("train").outputs)
"""What a training writes."""

PART = 10
"""The first and the last loss are means over a tenth of the steps: a single one is chance."""


def all_or_nothing(root: Path) -> AbstractContextManager[None]:
    """Old outputs go first, and if anything fails no new one stays."""
    outputs = [root / path for path in OUTPUTS]
    for output in outputs:
        remove_temporaries(output.parent, output.name, older_than=0)
    return files.all_or_nothing(*outputs)


def write_outputs(
    root: Path,
    job: Job,
    outcome: Outcome,
    unseen: Mapping[str, Sequence[Example]],
    environment: Mapping[str, Any],
) -> None:
    """Write all files of a finished training.

    Args:
        root: the project, without any of `OUTPUTS`.
        job: what was trained.
        outcome: how it went.
        unseen: pictures that were not trained on, by role; roles without pictures are left out.
        environment: under which the bytes repeat.
    """
    measured = {
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
    write_text(root / LOSSES, loss_table(outcome, job))
    job.write_adapter(root / ADAPTER, None)
    _write_snapshots(root / SNAPSHOTS, job, unseen)
    adapter = {
        "adapter_sha256": sha256_file(root / ADAPTER),
        **identity(root / ADAPTER),
    }
    _write_json(root / ENVIRONMENT, {**adapter, "environment": dict(environment)})
    _write_json(root / RECORD, metrics(outcome, measured))


def loss_table(outcome: Outcome, job: Job) -> str:
    """`loss.tsv`: step, epoch, loss and learning rate of every optimizer step.

    Where regularization pictures are trained on, their loss stands last, `prior_loss`. Steps and
    epochs count from 1; a step belongs to its last sample's epoch. Numbers are written so that
    reading them gives the same number back.
    """
    stream = job.stream
    rows = ["step\tepoch\tloss\tlearning_rate" + ("\tprior_loss" if outcome.prior_losses else "")]
    for step, loss in enumerate(outcome.losses):
        epoch = stream.epoch_of(step) + 1
        prior = f"\t{outcome.prior_losses[step]!r}" if outcome.prior_losses else ""
        rows.append(f"{step + 1}\t{epoch}\t{loss!r}\t{job.rate(step)!r}{prior}")
    return "".join(f"{row}\n" for row in rows)


def metrics(outcome: Outcome, measured: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """`train.json`: what is compared. Of each loss, less is better.

    Args:
        outcome: how the training went.
        measured: by role, the loss of the base and of the adapter on pictures that were not trained
            on: `heldout_loss_base` and `heldout_loss`.
    """
    losses = outcome.losses
    part = max(1, len(losses) // PART)
    figures = {"loss_first": fmean(losses[:part]), "loss_last": fmean(losses[-part:])}
    if prior := outcome.prior_losses:
        figures |= {
            "prior_loss_first": fmean(prior[:part]),
            "prior_loss_last": fmean(prior[-part:]),
        }
    for role, loss in measured.items():
        figures |= {f"{role}_loss": loss["adapter"], f"{role}_loss_base": loss["base"]}
    skipped = {"skipped_steps": outcome.skipped} if outcome.skipped else {}
    return {**figures, **skipped, "steps": len(losses)}


def _write_snapshots(folder: Path, job: Job, unseen: Mapping[str, Sequence[Example]]) -> None:
    """The adapters along the way, and their losses on pictures that were not trained on.

    DVC warns of an empty folder, so one without any says why. Afterwards the last snapshot is what
    the job's denoiser holds.
    """
    with writing(folder):
        folder.mkdir(parents=True)
    losses = {}
    for step in sorted(job.snapshots):
        snapshot = folder / job.checkpoints.snapshot_path(step).name
        _copy(job.checkpoints.snapshot_path(step), snapshot)
        job.adapted.load(read_tensors(snapshot))
        losses[snapshot.stem] = _unseen_losses(job, unseen)
    if not job.snapshots:
        write_text(folder / "none.txt", "The recipe's train.snapshots keeps none.\n")
    elif any(unseen.values()):
        _write_json(folder / "losses.json", losses)


def _unseen_losses(job: Job, unseen: Mapping[str, Sequence[Example]]) -> dict[str, float]:
    """By role, as `base_and_adapter` measures them."""
    plain, size = job.objective.plain(), job.stream.batch_size
    return {
        role: mean_loss(job.denoiser, plain, job.pictures.of(images), size)
        for role, images in unseen.items()
        if images
    }


def _copy(source: Path, target: Path) -> None:
    try:
        old = source.open("rb")
    except OSError as error:
        raise UserError.of(
            where=str(source),
            what=f"a snapshot of this training is gone: {error.strerror or error}",
            fix="run it again: it resumes from what is left",
        ) from error
    with old, atomic_file(target) as new:
        shutil.copyfileobj(old, new)


def _write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
