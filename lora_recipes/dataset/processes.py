"""The same work on many pictures, in several processes where that pays; results in order.

How many processes there are changes no byte. They are spawned, not forked, so that it works the
same on Linux, macOS and Windows and beside threads.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from typing import TypeVar

from lora_recipes.errors import UserError

MOST = 8
"""More processes than that mostly wait for the disk."""

WORTH_A_PROCESS = 150_000_000
"""Pixels. Starting a process takes about 0.4 s, in which so many are decoded and described."""

MEMORY = 2 * 2**30
"""Bytes that all processes' pictures together may take."""

BYTES_PER_PIXEL = 16
"""A picture in memory (4 bytes a pixel) with its file and what it is being converted to."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def worth_having(pixels: Sequence[int]) -> int:
    """How many processes pay for pictures of so many pixels each, and fit in memory together.

    1 means that the work is done in this process.
    """
    by_work = sum(pixels) // WORTH_A_PROCESS
    by_memory = MEMORY // (BYTES_PER_PIXEL * max(pixels, default=1) or 1)
    return max(1, min(cores(), MOST, by_work, by_memory))


@contextmanager
def in_order(
    work: Callable[[Item], Result], items: Sequence[Item], processes: int
) -> Iterator[Iterator[Result]]:
    """The results of `work(item)`, item by item as they are asked for.

    An exception reaches the caller at its item's turn, as if there were one process. However the
    block is left, no process is left behind: what is being worked on is finished, nothing more is
    begun. If this process is killed, the others end by themselves.

    Args:
        work: picklable, as are items and results.
        processes: 1: no other process is started.

    Raises:
        UserError: a process was killed.
    """
    if processes == 1:
        yield map(work, items)
        return
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, spawn, initializer=_begin)
    try:
        yield pool.map(work, items)
    except BrokenProcessPool as error:
        raise UserError.of(
            what=f"one of {processes} processes that read pictures was killed",
            fix="free some memory, then run it again",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin() -> None:
    """Leave Ctrl-C to the parent, which ends its processes in order, and end when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
