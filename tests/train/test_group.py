"""The group of processes: its devices, and what is said when it does not come about."""

from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import torch
from lightning.fabric.plugins import Precision
from torch import distributed

from lora_recipes.cli import main
from lora_recipes.errors import UserError
from lora_recipes.train.distributed.group import LostProcess, launch, or_lost, own_device
from lora_recipes.train.distributed.ranks import World


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    second_machine = [World(2, 2, rank, rank - 2) for rank in (2, 3)]
    assert [own_device(world, torch.device("cuda")) for world in second_machine] == [
        torch.device("cuda", 0),
        torch.device("cuda", 1),
    ]
    assert own_device(World(4, 1, 3, 3), torch.device("cpu")) == torch.device("cpu")
    for kind in ("cuda", "mps"):
        assert own_device(World(), torch.device(kind)) == torch.device(kind)


@pytest.mark.parametrize(
    ("kind", "allowed"), [("cuda", "up to 2, a GPU for each"), ("mps", "1 on an Apple GPU")]
)
def test_more_processes_than_gpus_are_refused(
    monkeypatch: pytest.MonkeyPatch, kind: str, allowed: str
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError) as caught:
        own_device(World(4), torch.device(kind))
    assert str(caught.value) == (
        f"runtime.processes = 4 beside compute.device = {kind}\n"
        f"  allowed: {allowed}\n"
        "  fix:     lower runtime.processes, or set compute.device to cpu"
    )


def test_a_machine_that_does_not_find_the_first_says_where_it_looked(
    monkeypatch: pytest.MonkeyPatch,
):
    class Unreachable:
        def __init__(self, **_: object) -> None:
            pass

        def launch(self) -> None:
            raise distributed.DistNetworkError("timed out")

    monkeypatch.setattr(lightning, "Fabric", Unreachable)
    for name, value in {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    with pytest.raises(UserError) as caught:
        launch(World(2, 2, 2, 0, "torchrun"), torch.device("cpu"), Precision())
    assert str(caught.value) == (
        "process 2 of 4 cannot join process 0 at 10.0.0.1:29500\n"
        "  fix:     start all machines within half an hour, each with an address of machine 0 that "
        "it can reach (docs/multi-process.md)"
    )


def test_only_a_lost_connection_is_called_one():
    for error in (
        distributed.DistBackendError("NCCL says no"),
        RuntimeError("[…/gloo/transport/tcp/pair.cc:553] Connection closed by peer"),
    ):
        with pytest.raises(LostProcess) as caught, or_lost():
            raise error
        assert str(caught.value) == (
            "another process of this training ended before its time\n"
            "  fix:     its own message, if it had one, stands above; run this again: it resumes "
            "from the last checkpoint"
        )
    with pytest.raises(RuntimeError, match="shapes do not fit"), or_lost():
        raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_one_process_of_a_machine_tells_of_an_error(
    tmp_path: Path,
    rank: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LORA_RECIPES_MAIN_PID", "1")
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert main(["stage", "train"]) == 1
    assert bool(capfd.readouterr().err) == (rank == "0")
