"""The group of processes that train together: how it comes about, agrees, and ends as one."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import lightning
import torch
from lightning.fabric.plugins import Precision
from lightning.fabric.plugins.environments import (
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import Tensor, distributed

from lora_recipes.errors import Problem, UserError
from lora_recipes.train.distributed.ranks import MAIN_PID, World

ACCELERATORS = {"cpu": "cpu", "cuda": "gpu", "mps": "mps"}
"""Lightning's word for each of torch's devices."""

LOOK_EVERY = 0.5
"""Seconds between two looks at whether the process that started this one is still there."""

Answer = TypeVar("Answer")


class LostProcess(UserError):
    """Another process of the training has ended, so that this one cannot continue."""


def own_device(world: World, device: torch.device) -> torch.device:
    """The device of this process: the i-th of a machine takes its i-th GPU.

    Raises:
        UserError: there are fewer GPUs than processes, or several processes on an Apple GPU.
    """
    if world.size == 1 or device.type == "cpu":
        return device
    there = torch.cuda.device_count() if device.type == "cuda" else 0
    if world.processes > there:
        raise UserError.of(
            what=f"runtime.processes = {world.processes} beside compute.device = {device.type}",
            allowed=f"up to {there}, a GPU for each" if there else "1 on an Apple GPU",
            fix="lower runtime.processes, or set compute.device to cpu",
        )
    return torch.device(device.type, world.local_rank)


def environment(world: World) -> Any:
    """What tells Lightning who started the processes, and their ranks."""
    if world.launcher == "torchrun":
        return TorchElasticEnvironment()
    if world.launcher == "srun":
        return SLURMEnvironment(auto_requeue=False)
    return LightningEnvironment()


def launch(world: World, device: torch.device, precision: Precision) -> lightning.Fabric:
    """Start the other processes of this machine, unless something else did, and join them all.

    Args:
        world: which processes there are.
        device: of this process.
        precision: how losses become gradients, and gradients steps.

    Raises:
        UserError: process 0 cannot be reached.
    """
    if world.size > 1:
        # Otherwise Lightning would set the threads from the machine's cores, and so the bytes.
        os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())
        if not world.launcher:
            _prepare_to_start(world)
    fabric = lightning.Fabric(
        accelerator=ACCELERATORS[device.type],
        devices=world.processes,
        num_nodes=world.nodes,
        strategy="ddp" if world.size > 1 else "auto",
        plugins=[environment(world), precision],
    )
    try:
        with _quiet_lightning():
            fabric.launch()
    except distributed.DistError as error:
        address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise UserError.of(
            what=f"process {world.rank} of {world.size} cannot join process 0 at {address}",
            fix="start all machines within half an hour, each with an address of machine 0 "
            "that it can reach (docs/multi-process.md)",
        ) from error
    return fabric


def agree(world: World, fingerprint: str) -> None:
    """Make sure that all processes are about to train the very same thing.

    Raises:
        UserError: naming the processes that are not.
    """
    if world.size == 1:
        return
    found: list[Any] = [None] * world.size
    with or_lost():
        distributed.all_gather_object(found, fingerprint)
    others = [str(rank) for rank, value in enumerate(found) if value != found[0]]
    if others:
        raise UserError.of(
            what=f"process {', '.join(others)} of {world.size} would train something else "
            "than process 0",
            allowed="the same recipe, data, base model, code, packages and kind of device",
            fix="bring the same commit, resolved.yaml, build/encoded and environment to each "
            "machine",
        )


def from_first(ask: Callable[[], Answer]) -> Answer:
    """What process 0 answers, on all processes; the others do not ask."""
    if not distributed.is_initialized():
        return ask()
    answer: list[Any] = [ask() if distributed.get_rank() == 0 else None]
    with or_lost():
        distributed.broadcast_object_list(answer)
    given: Answer = answer[0]
    return given


def add_up(tensor: Tensor) -> None:
    """Sum a tensor over all processes, in place. Exact where all but one hold 0."""
    if distributed.is_initialized():
        with or_lost():
            distributed.all_reduce(tensor)


def largest(number: int, device: torch.device) -> int:
    """The largest of all processes' numbers. Waits for the device, and for the others."""
    if not distributed.is_initialized():
        return number
    of_all = torch.tensor(number, device=device)
    with or_lost():
        distributed.all_reduce(of_all, distributed.ReduceOp.MAX)
    return int(of_all)


@contextmanager
def or_lost() -> Iterator[None]:
    """Say what it means when the others cannot be reached any more."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        raise LostProcess(
            Problem(
                what="another process of this training ended before its time",
                fix="its own message, if it had one, stands above; run this again: it resumes "
                "from the last checkpoint",
            )
        ) from error


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Nothing but errors from Lightning: which logger speaks depends on what was imported."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("fabric", "pytorch")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _prepare_to_start(world: World) -> None:
    """Leave no word of another launch for Lightning to find, or watch over who started this."""
    if world.local_rank > 0:
        _end_with(int(os.environ[MAIN_PID]))
        return
    os.environ[MAIN_PID] = str(os.getpid())
    os.environ.pop("LOCAL_RANK", None)
    if world.nodes == 1:
        for name in ("NODE_RANK", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"):
            os.environ.pop(name, None)


def _end_with(parent: int) -> None:
    """End this process as soon as the one that started it is gone, whatever it waits for."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
