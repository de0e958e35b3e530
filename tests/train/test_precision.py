"""The base in any precision, the adapter and its optimizer always in float32."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lora_recipes.errors import UserError
from lora_recipes.tensors import read_tensors
from lora_recipes.train.checkpoints import Checkpoints, checkpoints_folder
from lora_recipes.train.loop import Training
from lora_recipes.train.optim.loss_scaling import LossScaling
from tests.train.project import contents, make_project, run_stage, small_unet
from tests.train.test_resume import CutOff, Interrupted


@pytest.fixture(autouse=True)
def own_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("LORA_RECIPES_CHECKPOINTS", raising=False)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_weights_gradients_and_optimizer_state_are_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, optimizer: str
):
    seen: set[torch.dtype] = set()
    base: set[torch.dtype] = set()

    update = Training.update

    def look(self: Training, step: int) -> None:
        for group in self.optimizer.param_groups:
            for weight in group["params"]:
                seen.update({weight.dtype, weight.grad.dtype})
        base.update(p.dtype for p in self.module.parameters() if not p.requires_grad)
        update(self, step)

    monkeypatch.setattr(Training, "update", look)
    root = make_project(tmp_path, {"optimizer": optimizer}, compute={"precision": precision})
    with pytest.raises(Interrupted):
        run_stage(root, CutOff(3))
    (path,) = checkpoints_folder(root).glob("*/step-000002.ckpt")
    state = Checkpoints(root, "", SimpleNamespace()).read(path)  # type: ignore[arg-type]
    for values in state["optimizer"]["state"].values():
        moments = [value for name, value in values.items() if name != "step"]
        seen.update(moment.dtype for moment in moments)
    assert seen == {torch.float32}
    assert base == {torch.bfloat16 if precision == "bf16" else torch.float16}


def test_a_coarser_base_gives_nearly_the_same_adapter(tmp_path: Path):
    settings = {"optimizer": "adamw", "learning_rate": 0.1, "adamw": {"eps": 0.01}}
    found = {}
    for precision in ("fp32", "bf16", "fp16"):
        root = make_project(tmp_path / precision, settings, compute={"precision": precision})
        run_stage(root)
        found[precision] = read_tensors(root / "out" / "adapter.safetensors")
    for precision, close in (("bf16", 0.2), ("fp16", 0.05)):
        up = [name for name in found["fp32"] if "lora_up" in name]
        error = sum(float((found[precision][n] - found["fp32"][n]).square().sum()) for n in up)
        size = sum(float(found["fp32"][n].square().sum()) for n in up)
        assert 0 < (error / size) ** 0.5 < close


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_fp16_resumes_with_its_scale_and_its_counts(tmp_path: Path, optimizer: str):
    settings = {"repeats": 5, "gradient_accumulation": 2, "optimizer": optimizer}
    roots = [make_project(tmp_path / n, settings, compute={"precision": "fp16"}) for n in "ab"]
    run_stage(roots[0], unet=overflowing_at(7, small_unet()))
    with pytest.raises(Interrupted):
        run_stage(roots[1], CutOff(7), unet=overflowing_at(7, small_unet()))
    run_stage(roots[1])
    assert contents(roots[0]) == contents(roots[1])
    assert b'"skipped_steps": 1' in contents(roots[0])["train.json"]


def overflowing_at(call: int, unet: torch.nn.Module) -> torch.nn.Module:
    """A base that makes the gradient of one forward pass infinite, or with call 0 of each."""
    calls: list[int] = []

    class Overflow(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, value: torch.Tensor) -> torch.Tensor:
            return value.clone()

        @staticmethod
        def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
            return gradient * float("inf")

    def hook(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return Overflow.apply(output) if len(calls) == call or call == 0 else output

    unet.mid_block.register_forward_hook(hook)
    return unet


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_fp16_gradients_are_unscaled_before_they_are_clipped(tmp_path: Path, optimizer: str):
    """A bound that no gradient reaches changes nothing; scaled ones are 65,536 times larger."""
    found = []
    for bound in (0.0, 1000.0):
        settings = {"optimizer": optimizer, "max_grad_norm": bound}
        root = make_project(tmp_path / str(bound), settings, compute={"precision": "fp16"})
        run_stage(root)
        found.append(read_tensors(root / "out" / "adapter.safetensors"))
    assert any(float(value.abs().sum()) > 0 for name, value in found[0].items() if "_up." in name)
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name])


def test_twenty_overflows_in_a_row_stop_the_run(tmp_path: Path):
    root = make_project(
        tmp_path,
        {"repeats": 25, "gradient_accumulation": 4},
        compute={"precision": "fp16"},
        runtime={"log_every": 1, "checkpoint_every": 1000},
    )
    with pytest.raises(UserError) as caught:
        run_stage(root, unet=overflowing_at(0, small_unet()))
    head, fix = str(caught.value).split("\n")
    assert head.startswith(
        "the gradients overflowed in 20 steps in a row, the last of them step 20 of 25; images: "
    )
    assert fix == (
        "  fix:     set compute.precision to bf16 or fp32, or look at the base model's weights"
    )
    assert contents(root) == {}


def test_a_run_of_overflows_is_named_when_the_host_looks(tmp_path: Path):
    """The count is kept on the device: news comes at step 25 only, and tells of step 20."""
    runtime = {"log_every": 1000, "checkpoint_every": 1000}
    root = make_project(
        tmp_path,
        {"repeats": 25, "gradient_accumulation": 4},
        compute={"precision": "fp16"},
        runtime=runtime,
    )
    with pytest.raises(UserError) as caught:
        run_stage(root, unet=overflowing_at(0, small_unet()))
    assert "in 20 steps in a row, the last of them step 20 of 25; images: " in str(caught.value)
    assert contents(root) == {}


def test_a_training_that_only_overflows_stops_though_it_is_short(tmp_path: Path):
    root = make_project(tmp_path, {"repeats": 1}, compute={"precision": "fp16"})
    with pytest.raises(UserError) as caught:
        run_stage(root, unet=overflowing_at(0, small_unet()))
    assert "in 2 steps in a row, the last of them step 2 of 2; images: " in str(caught.value)


def test_the_scale_is_what_torch_makes_it():
    scaling, theirs = LossScaling(torch.device("cpu")), torch.amp.GradScaler("cpu")
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    overflowed = []
    for bad in (False, True, True, False):
        scaling.backward((weight * (float("inf") if bad else 1.0)).sum(), None)
        scaling.unscale_gradients(optimizer)
        scaling.optimizer_step(optimizer)
        optimizer.zero_grad()
        overflowed.append(bool(scaling.overflowed))
    assert overflowed == [False, True, True, False]
    torch.testing.assert_close(weight.detach(), torch.full((3,), 0.8))
    assert scaling.state_dict()["scale"] == theirs._init_scale / 4
    other = LossScaling(torch.device("cpu"))
    other.load_state_dict(scaling.state_dict())
    assert other.state_dict() == scaling.state_dict()


def test_no_step_in_fp16_asks_for_the_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`get_scale` waits for the device: once for each checkpoint, and never else."""
    asked: list[float] = []
    get_scale = torch.amp.GradScaler.get_scale

    def counted(self: torch.amp.GradScaler) -> float:
        asked.append(get_scale(self))
        return asked[-1]

    monkeypatch.setattr(torch.amp.GradScaler, "get_scale", counted)
    root = make_project(
        tmp_path, {"repeats": 5}, {"checkpoint_every": 4}, compute={"precision": "fp16"}
    )
    run_stage(root)
    assert len(asked) == 2
