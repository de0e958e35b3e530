"""The loss on pictures that were never trained on: the same in whatever batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lora_recipes.diffusion.noise import alphas_cumprod
from lora_recipes.encode.store import read_index
from lora_recipes.recipe.sections.train import Train
from lora_recipes.train.data.batches import Pictures
from lora_recipes.train.module import Denoiser
from lora_recipes.train.objective import Objective, Pretraining
from lora_recipes.train.validation import DRAWS, mean_loss
from tests.train.project import MIXED, encode_pictures, small_unet


def test_the_mean_over_several_shapes_is_that_of_one_look_at_a_time(tmp_path: Path):
    encode_pictures(tmp_path, ["heldout"] * 4, MIXED)
    pictures = Pictures(tmp_path, read_index(tmp_path).images)
    base = Pretraining(alphas_cumprod(0.00085, 0.012, 1000), 0.5, "epsilon")
    denoiser, plain = Denoiser(small_unet(), torch.float32), Objective.of(Train(), base).plain()
    one_by_one = mean_loss(denoiser, plain, pictures, 1)
    assert DRAWS % 5
    for batch_size in (5, 64):
        assert mean_loss(denoiser, plain, pictures, batch_size) == pytest.approx(one_by_one)
