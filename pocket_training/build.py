"""The pocket's parts: SDXL's own classes and block layout, in small, with fresh weights."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lora_recipes.base.components import TOKENS
from pocket_training.tokens import END, new_tokenizer, vocabulary

TEXT_WIDTH = 128
TIME_ID_WIDTH = 32
PADS = {"tokenizer": END, "tokenizer_2": "!"}
"""As in SDXL: the first tokenizer pads with the end token, the second with id 0."""


def new_vae() -> AutoencoderKL:
    """128 x 128 x 3 in [-1, 1] to 16 x 16 x 4 latents and back; four levels, as in SDXL."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(16, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=128,
        force_upcast=True,
    )


def new_unet() -> UNet2DConditionModel:
    """16 x 16 x 4 latents; three levels, the first without attention, as in SDXL."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 64, 80),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=(2, 4, 5),
        use_linear_projection=True,
        cross_attention_dim=2 * TEXT_WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_ID_WIDTH,
        projection_class_embeddings_input_dim=6 * TIME_ID_WIDTH + TEXT_WIDTH,
        norm_num_groups=16,
    )


def new_text_encoders() -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """Three layers each: SDXL reads the last but one, and the second one's pooled output."""
    size = len(vocabulary()[0])
    config = CLIPTextConfig(
        vocab_size=size,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=1,
        hidden_size=TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_attention_heads=4,
        num_hidden_layers=3,
        max_position_embeddings=TOKENS,
        hidden_act="gelu",
    )
    return CLIPTextModel(config), CLIPTextModelWithProjection(config)


def new_scheduler() -> EulerDiscreteScheduler:
    """Stable Diffusion XL 1.0's own scheduler settings."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        prediction_type="epsilon",
        timestep_spacing="leading",
        steps_offset=1,
        interpolation_type="linear",
        use_karras_sigmas=False,
    )


def new_pipeline(
    folder: Path,
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    text_encoder_2: CLIPTextModelWithProjection,
) -> StableDiffusionXLPipeline:
    """The whole pipeline in memory; the tokenizers' files are written into `folder`."""
    return StableDiffusionXLPipeline(
        vae=vae,
        unet=unet,
        text_encoder=text_encoder,
        text_encoder_2=text_encoder_2,
        scheduler=new_scheduler(),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
        **{name: new_tokenizer(folder / name, pad) for name, pad in PADS.items()},
    )


def save(folder: Path, *parts: torch.nn.Module) -> None:
    """Writes the diffusers folder: VAE, UNet and both text encoders in half precision."""
    with TemporaryDirectory() as made:
        halves = [copy.deepcopy(part).to(torch.float16) for part in parts]
        new_pipeline(Path(made), *halves).save_pretrained(folder, safe_serialization=True)
        for name in PADS:
            for file in ("vocab.json", "merges.txt"):
                shutil.copyfile(Path(made) / name / file, folder / name / file)
    for name in ("text_encoder", "text_encoder_2"):
        _load_as_float32(folder / name / "config.json")


def _load_as_float32(config_file: Path) -> None:
    """transformers loads in the type that the config names, diffusers in float32: agree."""
    config = json.loads(config_file.read_text("utf-8"))
    config["dtype"] = "float32"
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
