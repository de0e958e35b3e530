"""Names and shapes from a configuration are those of the libraries' own models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lora_recipes.base.components import CONFIGS, WEIGHT_STEMS
from lora_recipes.base.folder import read_json
from lora_recipes.base.locate import POCKET
from lora_recipes.base.original import original
from lora_recipes.base.shapes import weights
from lora_recipes.base.single_file import PREFIXES
from tests.models import original_names


def empty(name: str, config: dict[str, Any]) -> nn.Module:
    with torch.device("meta"):
        if name == "unet":
            return UNet2DConditionModel.from_config(config)
        if name == "vae":
            return AutoencoderKL.from_config(config)
        kind = CLIPTextModel if name == "text_encoder" else CLIPTextModelWithProjection
        return kind(CLIPTextConfig.from_dict(config))


def of_library(name: str, config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {
        key.removeprefix("text_model.") if name.startswith("text") else key: tuple(tensor.shape)
        for key, tensor in empty(name, config).state_dict().items()
    }


@pytest.mark.parametrize("name", WEIGHT_STEMS)
@pytest.mark.parametrize("home", [CONFIGS, POCKET])
def test_sdxl_and_the_pocket_have_the_weights_that_the_libraries_build(
    home: Path, name: str
) -> None:
    config = read_json(home / name / "config.json")
    assert weights(name, config) == of_library(name, config)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("unet", {"use_linear_projection": False}),
        ("unet", {"transformer_layers_per_block": 1, "attention_head_dim": 4}),
        ("unet", {"block_out_channels": [32, 64, 96], "layers_per_block": [2, 2, 2],
                  "attention_head_dim": [2, 4, 6]}),
        ("unet", {"down_block_types": ["CrossAttnDownBlock2D"] * 3,
                  "up_block_types": ["CrossAttnUpBlock2D"] * 3}),
        ("unet", {"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
                  "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]}),
        ("vae", {"use_quant_conv": False, "use_post_quant_conv": False}),
        ("vae", {"mid_block_add_attention": False, "layers_per_block": 3}),
        ("vae", {"latent_channels": 16, "block_out_channels": [8, 16, 16, 32]}),
        ("text_encoder_2", {"projection_dim": 40, "num_hidden_layers": 2}),
    ],
)  # fmt: skip
def test_so_has_every_layout_that_is_let_through(name: str, values: dict[str, Any]) -> None:
    config = read_json(POCKET / name / "config.json") | values
    assert weights(name, config) == of_library(name, config)


@pytest.mark.parametrize("home", [CONFIGS, POCKET])
def test_stabilitys_names_are_those_of_its_checkpoints(home: Path) -> None:
    configs = {name: read_json(home / name / "config.json") for name in WEIGHT_STEMS}
    states = [dict(empty(name, config).state_dict()) for name, config in configs.items()]
    checkpoint = {key: tuple(value.shape) for key, value in original_names(*states).items()}
    expected = {
        PREFIXES[name] + key: shapes
        for name, config in configs.items()
        for key, shapes in original(name, weights(name, config)).items()
    }
    assert set(checkpoint) - set(expected) == {
        "conditioner.embedders.0.transformer.text_model.embeddings.position_ids",
        "conditioner.embedders.1.model.logit_scale",
    }
    assert set(expected) <= set(checkpoint)
    assert all(checkpoint[key] in shapes for key, shapes in expected.items())
