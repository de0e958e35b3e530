"""Numbers that are not finite stop the run, with step and images, and nothing of it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lora_recipes.errors import UserError
from lora_recipes.files import atomic_file
from tests.train.project import OUTPUTS, contents, make_project, reencode, run_stage, small_unet

FIX = (
    "  fix:     look at these images and at the base model's weights; if both are sound, "
    "lower train.learning_rate or set compute.precision to fp32"
)


@pytest.fixture(autouse=True)
def own_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("LORA_RECIPES_CHECKPOINTS", raising=False)


def broken_base() -> torch.nn.Module:
    unet = small_unet()
    with torch.no_grad():
        unet.conv_in.weight[0, 0, 0, 0] = float("nan")
    return unet


def failure(root: Path, unet: torch.nn.Module | None = None) -> str:
    with pytest.raises(UserError) as caught:
        run_stage(root, unet=unet)
    assert contents(root) == {}
    assert not list((root / ".lora" / "checkpoints").iterdir())
    return str(caught.value)


def test_one_nan_in_the_base_stops_the_run_and_leaves_no_adapter(tmp_path: Path):
    root = make_project(tmp_path, {"repeats": 2})
    run_stage(root)
    assert set(OUTPUTS[:4]) <= set(contents(root)), "there is an older adapter to be taken away"
    message = failure(root, broken_base())
    head, fix = message.split("\n")
    assert head.startswith("the loss is not a finite number at step 1 of 4; images: ")
    assert head.removeprefix("the loss is not a finite number at step 1 of 4; images: ") in {
        f"{k}.png" for k in range(4)
    }
    assert fix == FIX


def test_the_image_behind_a_bad_loss_is_named(tmp_path: Path):
    root = make_project(tmp_path, {"repeats": 1, "gradient_accumulation": 4})
    reencode(root, 2, lambda tensors: tensors["mean"][0, 0, :1].fill_(float("inf")))
    assert failure(root) == (
        f"the loss is not a finite number at step 1 of 1; images: 2.png\n{FIX}"
    )


def test_a_bad_step_is_found_at_the_next_look_and_named_rightly(tmp_path: Path):
    """News comes every 100 steps and checkpoints never: the end of the run still looks."""
    runtime = {"log_every": 100, "checkpoint_every": 100}
    root = make_project(tmp_path, {"repeats": 2, "gradient_accumulation": 4}, runtime=runtime)
    unet = small_unet()
    calls = []

    def break_third_step(module, inputs, output):
        calls.append(1)
        return (output[0] * (float("nan") if len(calls) == 7 else 1.0),)

    unet.register_forward_hook(
        lambda module, inputs, output: type(output)(
            sample=break_third_step(module, inputs, (output.sample,))[0]
        )
    )
    assert failure(root, unet).startswith("the loss is not a finite number at step 2 of 2; images:")


def test_a_bad_gradient_is_found_though_the_loss_was_good(tmp_path: Path):
    root = make_project(tmp_path, {"repeats": 1})
    unet = small_unet()

    class Backwards(torch.autograd.Function):
        @staticmethod
        def forward(context, value):
            return value.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient * float("inf")

    unet.mid_block.register_forward_hook(lambda module, inputs, output: Backwards.apply(output))
    head, fix = failure(root, unet).split("\n")
    assert head.startswith("the gradient is not a finite number at step 1 of 2; images: ")
    assert len(head.partition("images: ")[2].split(", ")) == 2, "a step's two images"
    assert fix == FIX


def test_a_training_without_a_full_step_fails_before_any_model(tmp_path: Path):
    root = make_project(tmp_path, {"repeats": 1, "gradient_accumulation": 8})
    with pytest.raises(UserError) as caught:
        run_stage(root, unet="never looked at")
    assert str(caught.value).startswith("zero full optimizer steps: 4 images × 1 repeats × 1 epoch")


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = make_project(tmp_path, {"repeats": 1})

    def full(path: Path):
        if path.name == "train.json":
            raise UserErrorOfDisk
        return atomic_file(path)

    class UserErrorOfDisk(Exception):
        pass

    monkeypatch.setattr("lora_recipes.files.atomic_file", full)
    with pytest.raises(UserErrorOfDisk):
        run_stage(root)
    assert contents(root) == {}
