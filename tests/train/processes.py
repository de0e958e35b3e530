"""Several processes for a test, forked from a server that has imported everything once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lora_recipes.errors import UserError
from lora_recipes.reporting import Quiet
from tests.train.project import run_stage

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.train.processes", "lora_recipes.train.loop"])
LAUNCHERS = ("TORCHELASTIC_", "SLURM_", "MASTER_", "LORA_RECIPES_")


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def as_torchrun(size: int) -> list[dict[str, str]]:
    """What torchrun puts into the environment of each process on one machine."""
    port = free_port()
    return [
        {
            "TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            "RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": str(size), "GROUP_RANK": "0", "GROUP_WORLD_SIZE": "1",
        }
        for rank in range(size)
    ]  # fmt: skip


def together(
    environments: Sequence[Mapping[str, str]], work: Callable[..., Any], *arguments: Any
) -> list[Any]:
    """What each process returned: its value, a user's error as text, or how it ended."""
    answers = [SERVER.Pipe(duplex=False) for _ in environments]
    processes = [
        SERVER.Process(target=_run, args=(dict(more), answer[1], work, arguments), daemon=True)
        for more, answer in zip(environments, answers, strict=True)
    ]
    for process in processes:
        process.start()
    for _, end in answers:
        end.close()
    try:
        for process in processes:
            process.join(300)  # four share a busy machine
            assert process.exitcode is not None, "a process hangs"
        return [
            process.exitcode if process.exitcode else found.recv()
            for process, (found, _) in zip(processes, answers, strict=True)
        ]
    finally:
        for process in processes:
            process.kill()


def train(root: Path, cut_at: int | None = None) -> list[str]:
    """Run the train stage; what it said. With `cut_at` the main process dies after that step."""
    return run_stage(root, Dying(cut_at) if cut_at else None).said


def train_own(roots: Sequence[Path]) -> list[str]:
    """As `train`, each process in a folder of its own."""
    return train(roots[int(os.environ["RANK"])])


class Dying(Quiet):
    """A reporter that is killed, hard, at its news of a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def bar(self, title: str, total: int, done: int = 0) -> Any:
        reporter = self

        class Deadly:
            reached = done

            def advance(self, count: float = 1, **figures: float | str) -> None:
                self.reached += count
                if self.reached >= reporter.step:
                    os.kill(os.getpid(), signal.SIGKILL)

            def __enter__(self) -> Deadly:
                return self

            def __exit__(self, *_: object) -> None:
                pass

        return Deadly()


def _run(more: dict[str, str], answer: Any, work: Callable[..., Any], arguments: Any) -> None:
    for name in [name for name in os.environ if name.startswith(LAUNCHERS)]:
        del os.environ[name]
    os.environ.update(more)
    try:
        answer.send(work(*arguments))
    except UserError as error:
        answer.send(str(error))
    except Exception:
        answer.send(traceback.format_exc())
