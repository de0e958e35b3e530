"""1 process × accumulation 4, 2 × 2 and 4 × 1 are one training: same bytes, same checkpoints."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_recipes.train.checkpoints import checkpoints_folder
from lora_recipes.train.distributed.ordered_sum import OrderedSum
from tests.train.processes import as_torchrun, free_port, together, train, train_own
from tests.train.project import contents, make_project, reencode, run_stage

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS: dict[str, Any] = {
    "repeats": 5,  # 25 samples in batches of 2, steps of 4: the last step holds one batch of one
    "batch_size": 2,
    "gradient_accumulation": 4,
    "scheduler": "cosine",
    "noise_offset": 0.1,
    "max_grad_norm": 0.01,
    "snapshots": [0.5],
}
ROLES = ["train"] * 5 + ["heldout"] * 2
LOST = (
    "another process of this training ended before its time\n"
    "  fix:     its own message, if it had one, stands above; run this again: it resumes from "
    "the last checkpoint"
)


@pytest.fixture(scope="module", autouse=True)
def own_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_ROOT", "LORA_RECIPES_CHECKPOINTS"):
            patch.delenv(name, raising=False)
        yield


def project(root: Path, processes: int = 1, **settings: Any) -> Path:
    return make_project(root, SETTINGS | settings, {"processes": processes}, roles=ROLES)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The outputs of one process that accumulates four micro-batches."""
    root = project(tmp_path_factory.mktemp("alone"))
    run_stage(root)
    return contents(root)


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_write_the_bytes_of_one(
    tmp_path: Path, processes: int, alone: dict[str, bytes]
):
    root = project(tmp_path)
    said, *others = together(as_torchrun(processes), train, root)
    assert said[-1].startswith("trained 4 steps in ")
    assert others == [[]] * (processes - 1), "only the main process speaks"
    assert contents(root) == alone
    assert set(alone) >= {"adapter.safetensors", "environment.json", "loss.tsv", "train.json"}
    assert not list(checkpoints_folder(root).iterdir())


def test_a_checkpoint_has_the_same_bytes_whatever_the_number_of_processes(tmp_path: Path):
    states = []
    for processes in (1, 2, 4):
        root = project(tmp_path / str(processes))
        killed, *others = together(as_torchrun(processes), train, root, 3)
        assert killed == -signal.SIGKILL
        assert others == [1] * (processes - 1), "the others end by themselves, silently"
        assert contents(root) == {}
        (state,) = checkpoints_folder(root).glob("*/step-000002.ckpt")
        states.append(state.read_bytes())
    assert states[0] == states[1] == states[2]


def test_a_training_cut_off_on_one_resumes_with_two_and_ends_on_four(
    tmp_path: Path, alone: dict[str, bytes]
):
    root = project(tmp_path)
    make_project(root, SETTINGS, {"checkpoint_every": 1}, roles=ROLES)
    for processes, step in ((1, 2), (2, 4)):
        assert together(as_torchrun(processes), train, root, step)[0] == -signal.SIGKILL
        assert contents(root) == {}
    said = together(as_torchrun(4), train, root)[0]
    assert said[0] == "resuming after step 3 of 4"
    assert contents(root) == alone


def test_machines_need_not_share_a_folder(tmp_path: Path, alone: dict[str, bytes]):
    """Started by hand on two machines, here two names of one; only the first has checkpoints."""
    first, second = tmp_path / "first", tmp_path / "second"
    for root in (first, second):
        make_project(root, SETTINGS, {"nodes": 2}, roles=ROLES)
    port = free_port()
    environments = [
        {"NODE_RANK": str(rank), "MASTER_ADDR": name, "MASTER_PORT": port, "RANK": str(rank)}
        for rank, name in enumerate(("127.0.0.1", "localhost"))
    ]
    assert together(environments, train_own, [first, second])[1] == []
    assert contents(first) == alone
    assert contents(second) == {}
    assert not list((second / ".lora").glob("checkpoints/*/*"))


def test_srun_is_recognised_on_two_machines(tmp_path: Path, alone: dict[str, bytes]):
    root = project(tmp_path)
    common = {
        "SLURM_JOB_ID": free_port(), "SLURM_JOB_NAME": "lora", "SLURM_NODELIST": "127.0.0.[1-2]",
        "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NNODES": "2", "SLURM_LOCALID": "0",
    }  # fmt: skip
    ranks = [{"SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank)} for rank in range(2)]
    assert together([common | rank for rank in ranks], train, root)[1] == []
    assert contents(root) == alone


def test_a_number_that_is_not_finite_is_told_once_and_nothing_is_written(tmp_path: Path):
    root = project(tmp_path, batch_size=1, snapshots=[])
    reencode(root, 3, lambda tensors: tensors["mean"][0, 0, :1].fill_(float("inf")))
    (alone,) = together(as_torchrun(1), train, root)
    assert alone.startswith("the loss is not a finite number at step 2 of 7; images: 3.png\n")
    assert together(as_torchrun(4), train, root) == [alone, 1, 1, 1]
    assert contents(root) == {}


def test_a_process_with_other_data_is_named(tmp_path: Path):
    roots = [tmp_path / str(rank) for rank in range(4)]
    for root in roots:
        project(root)
    reencode(roots[2], 0, lambda tensors: tensors["tokens"].add_(1))
    message = (
        "process 2 of 4 would train something else than process 0\n"
        "  allowed: the same recipe, data, base model, code, packages and kind of device\n"
        "  fix:     bring the same commit, resolved.yaml, build/encoded and environment to each "
        "machine"
    )
    assert together(as_torchrun(4), train_own, roots) == [message] * 4
    assert contents(roots[0]) == {}


def test_processes_that_cannot_share_a_step_are_refused_before_any_model(tmp_path: Path):
    root = project(tmp_path, processes=3)
    (message,) = together([{}], train, root)
    assert message == (
        "params.yaml:1: runtime.processes = 3 beside train.gradient_accumulation = 4\n"
        "  allowed: 1, 2 or 4 in all, so that each takes an equal part of a step's micro-batches\n"
        "  fix:     choose one of these, or a train.gradient_accumulation that 3 divides (which "
        "changes the adapter)"
    )


@pytest.mark.parametrize(
    ("processes", "compute", "train_too"),
    [
        (2, {"precision": "fp16"}, {}),
        (4, {"precision": "bf16", "adapter_precision": "base"}, {"optimizer": "adamw"}),
    ],
    ids=["fp16's loss scaler, Adafactor", "bf16 throughout, AdamW"],
)
def test_other_dtypes_and_optimizers_give_the_bytes_of_one_too(
    tmp_path: Path, processes: int, compute: dict[str, Any], train_too: dict[str, Any]
):
    found = []
    for size in (1, processes):
        root = tmp_path / str(size)
        make_project(root, SETTINGS | train_too, compute=compute, roles=ROLES)
        said = together(as_torchrun(size), train, root)[0]
        assert said[-1].startswith("trained 4 steps in "), said
        found.append(contents(root))
    assert found[0] == found[1]


def die_in_third_round(root: Path) -> list[str]:
    """As `train`, but process 1 is killed, hard, in the middle of an exchange."""
    if os.environ["RANK"] == "1":
        add, rounds = OrderedSum.add, iter(range(3))

        def deadly(self: OrderedSum, real: int, starts: bool) -> None:
            if next(rounds) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            add(self, real, starts)

        OrderedSum.add = deadly
    return train(root)


def test_the_main_process_says_that_it_lost_another(tmp_path: Path):
    root = project(tmp_path)
    lost, killed, *others = together(as_torchrun(4), die_in_third_round, root)
    assert lost == LOST
    assert killed == -signal.SIGKILL
    assert others == [1, 1]
    assert contents(root) == {}


def start(root: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.train.project", str(root)],
        cwd=REPOSITORY,
        env={k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def children(process: subprocess.Popen) -> list[int]:
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(number) for number in text.split()]


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait(what: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("victim", ["main", pytest.param("other", marks=pytest.mark.slow)])
def test_when_one_of_those_that_the_stage_started_is_killed_all_end(
    tmp_path: Path, victim: str, alone: dict[str, bytes]
):
    """The environment says nothing about threads, which Lightning would then choose itself."""
    runtime = {"processes": 2, "checkpoint_every": 1}
    root = make_project(tmp_path, SETTINGS, runtime, roles=ROLES)
    main = start(root)
    wait(lambda: list(checkpoints_folder(root).glob("*/step-000001.json")), 90)
    (other,) = children(main)
    os.kill(main.pid if victim == "main" else other, signal.SIGKILL)
    _, errors = main.communicate(timeout=10)
    wait(lambda: not is_alive(other), 5)
    assert "distributed" not in errors, "Lightning tells of its group"
    # Lightning's own watch over what it started may be first, and kills without a word
    says = victim == "other" and LOST.partition("\n")[0] in errors
    assert main.returncode == -signal.SIGKILL or says
    assert contents(root) == {}
    assert together(as_torchrun(2), train, root)[0][0].startswith("resuming after step ")
    assert contents(root) == alone
