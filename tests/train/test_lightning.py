"""The LightningModule is a plain one: Lightning's own Trainer trains it as our loop does."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lora_recipes.adapter.parts import Adapted
from lora_recipes.diffusion.noise import alphas_cumprod
from lora_recipes.encode.store import read_index
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.train import Train
from lora_recipes.tensors import read_tensors
from lora_recipes.train.data.batches import Batch, Pictures, StreamBatches
from lora_recipes.train.data.stream import Stream
from lora_recipes.train.module import Denoiser, Denoising
from lora_recipes.train.objective import Objective, Pretraining
from lora_recipes.train.optim.optimizers import build_optimizer, build_schedule
from tests.train.project import make_project, run_stage, small_unet
from tests.train.test_training import losses

SETTINGS: dict[str, Any] = {
    "repeats": 5,  # 20 samples in batches of 2, steps of 6: the last one holds one batch
    "batch_size": 2,
    "gradient_accumulation": 3,
    "learning_rate": 1e-2,
    "scheduler": "cosine",
    "warmup_steps": 1,
    "max_grad_norm": 0.01,
    "noise_offset": 0.1,
}


def trained_by_lightning(root: Path, train: Train) -> tuple[dict[str, Tensor], list[float]]:
    """The adapter, and the loss of each optimizer step, by a Trainer without any plugin of ours."""
    folder = root / "build" / "encoded"
    index = read_index(folder)
    stream = Stream.of([image.repeats for image in index.images], train)
    unet = small_unet()
    adapted = Adapted({"unet": unet})
    adapted.inject(Lora(rank=2, alpha=2), train.seed)
    found = [0.0] * stream.steps

    def record(batch: Batch, loss: Tensor) -> None:
        part = loss.detach() * (batch.weight / stream.accumulation)
        found[stream.step_of(batch.number)] += float(part)

    def optimizer() -> Any:
        chosen = build_optimizer(adapted.parameters().values(), train)
        return chosen, build_schedule(chosen, stream.steps, train)

    base = Pretraining(alphas_cumprod(0.00085, 0.012, 1000), index.latent_scale, index.prediction)
    denoiser = Denoiser(unet, torch.float32)
    module = Denoising(denoiser, Objective.of(train, base), record, optimizer)
    batches = StreamBatches(Pictures(folder, index.images), stream)
    trainer = lightning.Trainer(
        max_epochs=1,
        accumulate_grad_batches=train.gradient_accumulation,
        gradient_clip_val=train.max_grad_norm or None,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=root,
    )
    with warnings.catch_warnings():
        # workers are not needed, and the frozen base is in eval mode on purpose
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", message=r"Found \d+ module.s. in eval mode")
        trainer.fit(module, DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch))
    assert trainer.global_step == stream.steps
    return adapted.tensors(2), found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "adamw", "max_grad_norm": 0.0},
        {
            "scheduler": "constant",
            "warmup_steps": 0,
            "learning_rate": "auto",
            "adafactor": {"relative_step": True, "scale_parameter": True},
        },
    ],
    ids=["adafactor", "adamw", "auto"],
)
def test_lightnings_own_trainer_gives_the_same_losses_and_weights_to_the_bit(
    tmp_path: Path, settings: dict[str, Any]
):
    make_project(tmp_path, SETTINGS | settings)
    run_stage(tmp_path)
    weights, curve = trained_by_lightning(tmp_path, Train(**(SETTINGS | settings)))
    expected = read_tensors(tmp_path / "out" / "adapter.safetensors")
    assert len(curve) == 4
    assert weights.keys() == expected.keys()
    assert max(float(v.abs().max()) for k, v in weights.items() if "lora_up" in k) > 1e-5
    for name, tensor in weights.items():
        assert torch.equal(tensor, expected[name]), name
    # the stage adds a step's parts up in float32, this test in float64
    assert curve == pytest.approx(losses(tmp_path), rel=1e-6)
