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
        seen.update(value.dtype for value in values.values() if isinstance(value, torch.Tensor))
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


def test_fp16_goes_on_with_its_scale_and_its_counts(tmp_path: Path):
    settings = {"repeats": 5, "gradient_accumulation": 2}
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


def test_the_scale_is_what_torch_makes_it():
    scaling, theirs = LossScaling("cpu"), torch.amp.GradScaler("cpu")
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for bad in (False, True, True, False):

        def closure(bad: bool = bad) -> torch.Tensor:
            weight.grad = torch.full((3,), float("inf") if bad else 1.0)
            scaling.scaler.scale(torch.ones(()))
            return weight.sum()

        module = SimpleNamespace(automatic_optimization=True, trainer=None)
        scaling._after_closure = lambda *_: None  # type: ignore[method-assign]
        scaling.optimizer_step(optimizer, module, closure)
    assert scaling.scaler is not None
    assert scaling.scaler.get_scale() == theirs._init_scale / 4
    assert (scaling.skipped, scaling.skipped_in_a_row) == (2, 0)
    other = LossScaling("cpu")
    other.load_state_dict(scaling.state_dict())
    assert other.state_dict() == scaling.state_dict()
