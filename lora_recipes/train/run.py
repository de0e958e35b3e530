"""One training from its first step, or from its last checkpoint, to its end."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lightning
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lora_recipes.adapter.parts import Adapted
from lora_recipes.recipe.schedule import learning_rate_at
from lora_recipes.recipe.sections.runtime import Runtime
from lora_recipes.recipe.sections.train import Train
from lora_recipes.reporting import Bar, Reporter
from lora_recipes.train.callbacks import (
    AdapterState,
    EndOfStep,
    FolderIO,
    Guard,
    Keeping,
    Progress,
)
from lora_recipes.train.checkpoints import Checkpoints
from lora_recipes.train.data.batches import BatchLoader, Pictures
from lora_recipes.train.data.stream import Stream
from lora_recipes.train.data.turns import Turns
from lora_recipes.train.distributed.group import (
    ACCELERATORS,
    add_up,
    environment,
    from_first,
    quiet_lightning,
)
from lora_recipes.train.distributed.together import Together
from lora_recipes.train.distributed.world import World
from lora_recipes.train.fast.speed_up import speed_up
from lora_recipes.train.fast.stack_views import StackViews
from lora_recipes.train.module import Denoiser, Denoising, Diffusion
from lora_recipes.train.optim.loss_scaling import LossScaling
from lora_recipes.train.optim.optimizers import build_optimizer, build_schedule
from lora_recipes.train.record import Record

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
    adapter_dtype: torch.dtype
    """The precision of the adapter's products; its weights are float32."""
    device: torch.device
    world: World
    """The processes that train together; joined by the caller."""
    checkpoints: Checkpoints
    """Locked by the caller on the leading process, the only one that uses them."""
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
    speed_up(job.denoiser.unet, report)
    turns = Turns(job.stream, job.world.size, job.world.rank)
    record = Record(job.pictures, turns, add_up)
    scaling = LossScaling(job.device.type) if job.denoiser.dtype == torch.float16 else None
    views = StackViews(job.denoiser, job.adapter_dtype)
    module = Denoising(job.denoiser, job.diffusion, record, lambda: _optimizer(job, views))
    resumed_at = from_first(job.checkpoints.newest)
    if resumed_at:
        report.say(f"going on after step {resumed_at} of {job.stream.steps}")
    if job.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(job.device)
    start = time.monotonic()
    with _quiet(), report.bar("train", job.stream.steps, resumed_at) as bar:
        trainer = _trainer(job, turns, scaling, _callbacks(job, record, scaling, bar))
        trainer.fit(
            module,
            BatchLoader(job.pictures, turns, job.runtime.workers),
            ckpt_path=job.checkpoints.state_path(resumed_at) if resumed_at else None,
        )
    views.release()
    if job.world.leads:
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


def _optimizer(job: Job, views: StackViews) -> tuple[Optimizer, LambdaLR | None]:
    groups = Adapted({"unet": job.denoiser.unet}).groups()
    optimizer = build_optimizer([group.for_optimizer() for group in groups], job.train)
    views.bind(optimizer.stacks)
    return optimizer, build_schedule(optimizer, job.stream.steps, job.train)


def _callbacks(
    job: Job, record: Record, scaling: LossScaling | None, bar: Bar
) -> list[lightning.Callback]:
    """What watches and keeps. Only the leading process tells, writes or stops; when it stops, the
    others find it gone."""
    everywhere = [AdapterState(record), EndOfStep(record, scaling)]
    if not job.world.leads:
        return everywhere
    runtime = job.runtime
    return [
        *everywhere,
        *([Guard(record, scaling)] if scaling else []),
        Progress(record, bar, runtime.log_every, job.rate),
        Keeping(
            record, job.checkpoints, runtime.checkpoint_every, job.snapshots, job.write_adapter
        ),
    ]


def _trainer(
    job: Job, turns: Turns, scaling: LossScaling | None, callbacks: list[lightning.Callback]
) -> lightning.Trainer:
    """Lightning's loop over the one long stream, with nothing of its own on screen or disk."""
    world = job.world
    plugins = [FolderIO(job.checkpoints), environment(world), *([scaling] if scaling else [])]
    return lightning.Trainer(
        accelerator=ACCELERATORS[job.device.type],
        devices=world.processes,
        num_nodes=world.nodes,
        strategy=Together(turns) if world.size > 1 else "auto",
        max_epochs=1,
        accumulate_grad_batches=turns.rounds_of_step,
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
def _quiet() -> Iterator[None]:
    with quiet_lightning(), warnings.catch_warnings():
        for message in NOT_FOR_USERS:
            warnings.filterwarnings("ignore", message=message)
        yield
