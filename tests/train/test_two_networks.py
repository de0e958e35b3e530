"""Two machines as far as the network can tell: two namespaces with a cable between them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.train.processes import free_port
from tests.train.project import contents, make_project, run_stage
from tests.train.test_distributed import REPOSITORY, ROLES, SETTINGS

pytestmark = pytest.mark.slow
NAMES = ("lora-a", "lora-b")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def networks() -> Iterator[None]:
    try:
        ip("netns", "add", NAMES[0])
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can make network namespaces, with `ip` of iproute2")
    try:
        ip("netns", "add", NAMES[1])
        ends = [f"v-{name}" for name in NAMES]
        ip(*f"link add {ends[0]} netns {NAMES[0]} type veth".split(),
           *f"peer name {ends[1]} netns {NAMES[1]}".split())  # fmt: skip
        for number, (name, end) in enumerate(zip(NAMES, ends, strict=True), start=1):
            ip("-n", name, "addr", "add", f"10.99.7.{number}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.mark.usefixtures("networks")
def test_two_machines_with_two_processes_each_write_the_bytes_of_one(tmp_path: Path):
    runtime = {"processes": 2, "nodes": 2}
    roots = [make_project(tmp_path / name, SETTINGS, runtime, roles=ROLES) for name in NAMES]
    port = free_port()
    started = [
        subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-W", "ignore", "-m",
             "tests.train.project", str(root)],
            cwd=REPOSITORY,
            env=os.environ
            | {"NODE_RANK": str(rank), "MASTER_ADDR": "10.99.7.1", "MASTER_PORT": port}
            | {"GLOO_SOCKET_IFNAME": f"v-{name}"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, (name, root) in enumerate(zip(NAMES, roots, strict=True))
    ]  # fmt: skip
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    alone = make_project(tmp_path / "alone", SETTINGS, roles=ROLES)
    run_stage(alone)
    assert contents(roots[0]) == contents(alone)
    assert contents(roots[1]) == {}
