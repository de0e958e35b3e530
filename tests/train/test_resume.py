"""However often a training is cut off, it ends in the same bytes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from lora_recipes.console import reporter
from lora_recipes.errors import UserError
from lora_recipes.hashing import sha256_file
from lora_recipes.recipe.sections.runtime import Runtime
from lora_recipes.reporting import Bar, Quiet
from lora_recipes.train.checkpoints import Checkpoints, checkpoints_folder
from tests.train.project import contents, make_project, run_stage

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS: dict[str, Any] = {
    "repeats": 5,  # 20 samples in steps of 3: the last one holds 2
    "gradient_accumulation": 3,
    "scheduler": "cosine",
    "warmup_steps": 2,
    "snapshots": [0.3, 0.75],
}


class Interrupted(Exception):
    """A power cut."""


class CutOff(Quiet):
    """A reporter during whose news of some step the power goes."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    @contextlib.contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        reporter = self

        class Cutting:
            def __init__(self) -> None:
                self.done = done

            def advance(self, count: float = 1, **figures: float | str) -> None:
                self.done += count
                if self.done >= reporter.step:
                    raise Interrupted

        yield Cutting()


@pytest.fixture(scope="module", autouse=True)
def own_checkpoints() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        patch.delenv("LORA_RECIPES_CHECKPOINTS", raising=False)
        yield


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The outputs of a training that nothing stopped."""
    root = make_project(tmp_path_factory.mktemp("unbroken"), SETTINGS)
    run_stage(root)
    assert not list(checkpoints_folder(root).iterdir()), "success leaves no checkpoint"
    return contents(root)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_cut_off_again_and_again_ends_in_the_same_bytes(
    tmp_path: Path, workers: int, unbroken: dict[str, bytes]
):
    root = make_project(tmp_path, SETTINGS, runtime={"workers": workers})
    for step in (1, 3, 4, 6):
        with pytest.raises(Interrupted):
            run_stage(root, CutOff(step))
        assert contents(root) == {}
    report = run_stage(root)
    assert report.said[0] == "resuming after step 4 of 7"
    assert report.warned == []
    assert contents(root) == unbroken


@pytest.mark.parametrize(
    "optimizer",
    [
        {"optimizer": "adamw", "max_grad_norm": 0.5},
        {
            "learning_rate": "auto",
            "scheduler": "constant",
            "warmup_steps": 0,
            "adafactor": {"relative_step": True, "scale_parameter": True, "beta1": 0.9},
        },
    ],
)
def test_every_optimizer_resumes_with_its_state(tmp_path: Path, optimizer: dict[str, Any]):
    roots = [make_project(tmp_path / name, SETTINGS | optimizer) for name in ("a", "b")]
    run_stage(roots[0])
    with pytest.raises(Interrupted):
        run_stage(roots[1], CutOff(5))
    assert run_stage(roots[1]).said[0] == "resuming after step 4 of 7"
    assert contents(roots[1]) == contents(roots[0])


RUNTIME: dict[str, list[Any]] = {
    "workers": [1, 2, 5],
    "checkpoint_every": [1, 3, 1000],
    "log_every": [4, 1000],
    "progress": ["auto", "bar", "plain", "off"],
}
"""Besides the values of `unbroken`. A bar on a real terminal: `tests/pipeline`."""

ELSEWHERE = {"processes": "test_distributed.py", "nodes": "test_distributed.py"}
"""Settings that need processes of their own, and where the same is proven of them."""


def test_every_setting_of_runtime_has_values_to_try():
    """A new field needs a case here, or a test that is named here."""
    assert RUNTIME.keys() | ELSEWHERE.keys() == Runtime.model_fields.keys()
    for key, file in ELSEWHERE.items():
        assert f'"{key}": ' in Path(__file__).with_name(file).read_text()
    progress = get_args(Runtime.model_fields["progress"].annotation)
    assert set(RUNTIME["progress"]) == set(progress)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 5 worker processes")
@pytest.mark.parametrize(("key", "value"), [(k, v) for k, vs in RUNTIME.items() for v in vs])
def test_no_setting_of_runtime_changes_a_byte(
    tmp_path: Path, key: str, value: Any, unbroken: dict[str, bytes]
):
    make_project(tmp_path, SETTINGS, runtime={key: value})
    run_stage(tmp_path, reporter(value if key == "progress" else "off"))
    assert contents(tmp_path) == unbroken


def test_a_damaged_checkpoint_is_passed_over_and_the_bytes_are_the_same(
    tmp_path: Path, unbroken: dict[str, bytes]
):
    root = make_project(tmp_path, SETTINGS)
    with pytest.raises(Interrupted):
        run_stage(root, CutOff(6))
    (newest,) = checkpoints_folder(root).glob("*/step-000004.ckpt")
    newest.write_bytes(newest.read_bytes()[:-100])
    report = run_stage(root)
    assert report.warned == [f"{newest}: this file is damaged; its checkpoint is not used"]
    assert report.said[0] == "resuming after step 2 of 7"
    assert contents(root) == unbroken


def test_another_recipe_finds_no_checkpoint_of_this_one(tmp_path: Path):
    root = make_project(tmp_path, SETTINGS)
    with pytest.raises(Interrupted):
        run_stage(root, CutOff(4))
    make_project(root, SETTINGS | {"learning_rate": 0.02})
    report = run_stage(root)
    assert not any(text.startswith("resuming") for text in report.said)


def test_what_the_run_took_is_kept_beside_the_outputs(tmp_path: Path):
    root = make_project(tmp_path, SETTINGS)
    with pytest.raises(Interrupted):
        run_stage(root, CutOff(5))
    run_stage(root)
    (path,) = (root / ".lora" / "runs").iterdir()
    record = json.loads(path.read_text())
    assert record["resumed_at"] == 4
    assert record["steps"] == 3
    assert record["seconds"] > 0
    assert record["peak_bytes"] > 2**20
    text = b"".join(value for name, value in contents(root).items() if name != "x").decode("latin1")
    assert "resumed" not in text
    assert "seconds" not in text


def test_killed_processes_resume_to_the_same_bytes(tmp_path: Path, unbroken: dict[str, bytes]):
    root = make_project(tmp_path, SETTINGS)
    for step in (2, 4):
        kill_after_checkpoint(root, step)
        assert contents(root) == {}
    report = run_stage(root)
    assert report.said[0] in {"resuming after step 4 of 7", "resuming after step 6 of 7"}
    assert contents(root) == unbroken


def kill_after_checkpoint(root: Path, step: int) -> None:
    """Run the stage in a process of its own and kill it, hard, once a checkpoint is there."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.train.project", str(root)],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while not list(checkpoints_folder(root).glob(f"*/step-{step:06d}.json")):
        assert process.poll() is None, "the training ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_the_same_run_twice_at_once_is_refused(tmp_path: Path):
    root = make_project(tmp_path, SETTINGS)

    class Intruding(Quiet):
        refusal = ""

        def bar(self, title: str, total: int, done: int = 0) -> Any:
            with pytest.raises(UserError) as caught:
                run_stage(root)
            self.refusal = str(caught.value)
            return super().bar(title, total, done)

    report = Intruding()
    run_stage(root, report)
    assert "another process is training this very run" in report.refusal
    assert "adapter.safetensors" in contents(root), "the intruder took nothing away"


def test_a_checkpoint_holds_the_adapter_and_not_the_base(tmp_path: Path):
    root = make_project(tmp_path, SETTINGS)
    with pytest.raises(Interrupted):
        run_stage(root, CutOff(3))
    (path,) = checkpoints_folder(root).glob("*/step-000002.ckpt")
    state = Checkpoints(root, "sha256:0", Quiet()).read(path)
    assert state.keys() == {"weights", "optimizer", "rates", "precision", "record"}
    assert len(state["weights"]) == 64
    assert all(".lora_" in name for name in state["weights"])
    moments = state["optimizer"]["state"].values()  # of one stack per shape
    assert sum(len(moment["rows"]) for moment in moments) == 64
    assert state["record"]["losses_S"].shape == (7,)


def test_a_state_of_other_shapes_is_passed_over_and_the_bytes_are_the_same(
    tmp_path: Path, unbroken: dict[str, bytes]
):
    root = make_project(tmp_path, SETTINGS)
    with pytest.raises(Interrupted):
        run_stage(root, CutOff(6))
    (newest,) = checkpoints_folder(root).glob("*/step-000004.ckpt")
    state = torch.load(newest, weights_only=True)
    name = next(iter(state["weights"]))
    shape = list(state["weights"][name].shape)
    state["weights"][name] = torch.zeros(1)  # which torch would copy into every number
    torch.save(state, newest)
    note = newest.with_suffix(".json")
    note.write_text(json.dumps(json.loads(note.read_text()) | {"state": sha256_file(newest)}))
    report = run_stage(root)
    assert report.warned == [
        f"{newest}: is not a checkpoint of this run (it.weights.{name} is not float32 {shape}); "
        "it is not used"
    ]
    assert report.said[0] == "resuming after step 2 of 7"
    assert contents(root) == unbroken
