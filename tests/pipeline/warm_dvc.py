"""DVC with its modules in memory: each command runs in a fork of one process that has them.

A DVC command takes a second, most of it imports, and the tests of this folder give two hundred.
What a command sees is what it would see as a process of its own: folder, environment, streams.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

MODULES = (
    *("dvc.cli", "dvc.commands.repro", "dvc.commands.checkout", "dvc.commands.data_sync"),
    *("dvc.commands.status", "dvc.repo.reproduce", "dvc.repo.checkout", "dvc.stage.run"),
    *("dvc.stage.loader", "dvc.stage.cache", "dvc.output", "dvc.dependency", "dvc.scm"),
    *("dvc_data.hashfile.build", "dvc_data.index.checkout"),
)


def run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """`dvc …` in a folder: exit code and what it wrote."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as error:
        asked = {
            "arguments": list(arguments), "folder": str(folder), "environment": dict(environment),
            "out": out.name, "error": error.name,
        }  # fmt: skip
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        texts = [Path(file.name).read_text("utf-8", "replace") for file in (out, error)]
    return subprocess.CompletedProcess(["dvc", *arguments], code, *texts)


@functools.cache
def _server() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()  # it ends with its input
    process.wait()


def serve(questions: IO[str]) -> None:
    """Answer each line with an exit code."""
    for name in MODULES:
        __import__(name)
    for line in questions:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(asked)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(asked: Mapping[str, object]) -> None:
    """Be a DVC command from here on."""
    for number, file in ((0, os.devnull), (1, asked["out"]), (2, asked["error"])):
        opened = os.open(str(file), os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(str(asked["folder"]))
    os.environ.clear()
    os.environ.update(asked["environment"])  # type: ignore[call-overload]
    sys.argv = ["dvc", *asked["arguments"]]  # type: ignore[misc]
    from dvc.cli import main

    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    serve(sys.stdin)
