"""One training from its first step, or from its last checkpoint, to its end."""

from __future__ import annotations

import logging
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lightning
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lora_recipes.adapter.inject import adapter_parameters
from lora_recipes.recipe.schedule import learning_rate_at
from lora_recipes.recipe.sections.runtime import Runtime
from lora_recipes.recipe.sections.train import Train
from lora_recipes.reporting import Reporter
from lora_recipes.train.batches import BatchLoader, Pictures
from lora_recipes.train.callbacks import AdapterState, FolderIO, Guard, Keeping, Progress
from lora_recipes.train.checkpoints import Checkpoints
from lora_recipes.train.fast_lora import speed_up
from lora_recipes.train.module import Denoiser, Denoising, Diffusion
from lora_recipes.train.optimizers import build_optimizer, build_schedule
from lora_recipes.train.record import Record
from lora_recipes.train.scaling import LossScaling
from lora_recipes.train.stream import Stream

ACCELERATORS = {"cpu": "cpu", "cuda": "gpu", "mps": "mps"}
"""Lightning's word for each of torch's devices."""

NOT_FOR_USERS = (
    # a scaler that skips the very first step makes torch worry about the schedule
    "Detected call of `lr_scheduler.step",
    # the frozen base is meant to be: its dropout, if it has any, stays off
    r"Found \d+ module.s. in eval mode",
    # how Lightning asks torch about its own trees
    ".*isinstance.treespec, LeafSpec.*",
)
"""The beginnings of warnings about libraries' insides."""


@dataclass(frozen=True)
class Job:
    """All that a training needs, ready to use: nothing here reads a recipe's file."""

    denoiser: Denoiser
    """On its device, with a fresh adapter."""
    diffusion: Diffusion
    pictures: Pictures
    stream: Stream
    train: Train
    runtime: Runtime
    device: torch.device
    checkpoints: Checkpoints
    """Locked by the caller."""
    snapshots: frozenset[int]
    """The steps after which the adapter is kept too."""
    write_adapter: Callable[[Path, int | None], None]
    """Writes the adapter as it is to a file: a snapshot's step, or None at the end."""

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return learning_rate_at(step, self.stream.steps, self.train)


@dataclass(frozen=True)
class Outcome:
    """What a training leaves behind, besides the adapter in the denoiser."""

    losses: list[float]
    """The mean loss of each optimizer step."""
    skipped: int
    """Steps whose gradients overflowed in fp16; 0 in other precisions."""
    resumed_at: int
    """The step that this process began after."""
    seconds: float
    """What this process took for its steps."""
    peak_bytes: int
    """The largest memory: the device's tensors, or on a CPU the whole process."""


def fit(job: Job, report: Reporter) -> Outcome:
    """Train the adapter inside the job's denoiser.

    Raises:
        UserError: a loss, a gradient or a weight is not finite, or the disk is full.
    """
    speed_up(job.denoiser.unet)
    record = Record(job.pictures, job.stream)
    scaling = LossScaling(job.device.type) if job.denoiser.dtype == torch.float16 else None
    module = Denoising(job.denoiser, job.diffusion, record, lambda: _optimizer(job))
    resumed_at = job.checkpoints.newest()
    if resumed_at:
        report.say(f"going on after step {resumed_at} of {job.stream.steps}")
    if job.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(job.device)
    start = time.monotonic()
    with _quiet_lightning(), report.bar("train", job.stream.steps, resumed_at) as bar:
        progress = Progress(record, bar, job.runtime.log_every, job.rate)
        keeping = Keeping(
            record, job.checkpoints, job.runtime.checkpoint_every, job.snapshots, job.write_adapter
        )
        callbacks = [AdapterState(record), Guard(record, scaling), progress, keeping]
        trainer = _trainer(job, scaling, callbacks)
        trainer.fit(
            module,
            BatchLoader(job.pictures, job.stream, job.runtime.workers),
            ckpt_path=job.checkpoints.state_path(resumed_at) if resumed_at else None,
        )
    record.check()
    assert trainer.global_step == job.stream.steps
    job.denoiser.to(job.device)  # Lightning leaves a GPU's modules on the CPU
    return Outcome(
        losses=record.losses(),
        skipped=scaling.skipped if scaling else 0,
        resumed_at=resumed_at,
        seconds=time.monotonic() - start,
        peak_bytes=peak_memory(job.device),
    )


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that tensors took on the device, or on a CPU the whole process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _optimizer(job: Job) -> tuple[Optimizer, LambdaLR | None]:
    parameters = [parameter for _, parameter in adapter_parameters(job.denoiser.unet)]
    optimizer = build_optimizer(parameters, job.train)
    return optimizer, build_schedule(optimizer, job.stream.steps, job.train)


def _trainer(
    job: Job, scaling: LossScaling | None, callbacks: list[lightning.Callback]
) -> lightning.Trainer:
    """Lightning's loop over the one long stream, with nothing of its own on screen or disk."""
    plugins = [FolderIO(job.checkpoints), LightningEnvironment(), *([scaling] if scaling else [])]
    return lightning.Trainer(
        accelerator=ACCELERATORS[job.device.type],
        devices=1,
        max_epochs=1,
        accumulate_grad_batches=job.stream.accumulation,
        gradient_clip_val=job.train.max_grad_norm or None,  # 0 is off, never "clip to zero"
        gradient_clip_algorithm="norm",
        callbacks=callbacks,
        plugins=plugins,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=job.checkpoints.folder,
    )


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in NOT_FOR_USERS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        logger.setLevel(before)
