"""Small adapters in the formats that are met: each as its trainer names and heads it."""

from __future__ import annotations

import json

import torch
from torch import Tensor

RANK = 4
KOHYA_HEADER = {
    "ss_sd_scripts_commit_hash": "48d368f",
    "ss_network_module": "networks.lora",
    "ss_network_dim": "4",
    "ss_network_alpha": "2.0",
    "ss_learning_rate": "0.0001",
    "ss_optimizer": "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1)",
    "ss_steps": "1600",
    "ss_sd_model_name": "sd_xl_base_1.0.safetensors",
    "ss_base_model_version": "sdxl_base_v1-0",
}


def random(*shape: int, seed: int = 0) -> Tensor:
    stream = torch.Generator().manual_seed(seed * 1000 + sum(shape))
    return torch.randn(*shape, generator=stream)


def lora(
    module: str, out: int = 16, into: int = 24, alpha: float | None = 2.0
) -> dict[str, Tensor]:
    """kohya's spelling of one linear module."""
    tensors = {
        f"{module}.lora_down.weight": random(RANK, into),
        f"{module}.lora_up.weight": random(out, RANK, seed=1),
    }
    return tensors if alpha is None else {**tensors, f"{module}.alpha": torch.tensor(alpha)}


def pair(down: str, up: str, out: int = 16, into: int = 24) -> dict[str, Tensor]:
    """One linear module whose names are given."""
    return {down: random(RANK, into), up: random(out, RANK, seed=1)}


SGM = "lora_unet_input_blocks_4_1_transformer_blocks_0"
BLOCKS = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0"
DOTTED = "unet.down_blocks.1.attentions.0.transformer_blocks.0"
TE1 = "lora_te1_text_model_encoder_layers_0"
TE2 = "lora_te2_text_model_encoder_layers_0"


def kohya() -> dict[str, Tensor]:
    """UNet and both text encoders, original block names, one 3×3 convolution."""
    return {
        **lora(f"{SGM}_attn1_to_q"),
        **lora(f"{SGM}_attn2_to_k", into=2048),
        **lora(f"{SGM}_ff_net_0_proj"),
        **lora("lora_unet_input_blocks_4_1_proj_in"),
        "lora_unet_input_blocks_4_0_in_layers_2.lora_down.weight": random(RANK, 8, 3, 3),
        "lora_unet_input_blocks_4_0_in_layers_2.lora_up.weight": random(16, RANK, 1, 1),
        "lora_unet_input_blocks_4_0_in_layers_2.alpha": torch.tensor(1.0),
        **lora(f"{TE1}_self_attn_q_proj"),
        **lora(f"{TE2}_mlp_fc1"),
    }


FORMATS: dict[str, tuple[dict[str, Tensor], dict[str, str]]] = {
    "kohya": (kohya(), KOHYA_HEADER),
    "a civitai download": (
        {
            name: value.half()
            for module in (f"{BLOCKS}_attn1_to_q", f"{BLOCKS}_ff_net_2", f"{TE1}_mlp_fc2")
            for name, value in lora(module).items()
        },
        {},
    ),
    "diffusers": (
        {
            **pair(f"{DOTTED}.attn1.to_q.lora.down.weight", f"{DOTTED}.attn1.to_q.lora.up.weight"),
            **pair(
                "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight",
                "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.up.weight",
            ),
        },
        {"format": "pt"},
    ),
    "diffusers, old": (
        pair(
            f"{DOTTED}.attn1.processor.to_out_lora.down.weight",
            f"{DOTTED}.attn1.processor.to_out_lora.up.weight",
        ),
        {},
    ),
    "diffusers, new": (
        {
            **pair(f"{DOTTED}.attn1.to_q.lora_A.weight", f"{DOTTED}.attn1.to_q.lora_B.weight"),
            **pair(
                "text_encoder_2.text_model.encoder.layers.0.mlp.fc1.lora_A.weight",
                "text_encoder_2.text_model.encoder.layers.0.mlp.fc1.lora_B.weight",
            ),
        },
        {"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.lora_alpha": 8}), "format": "pt"},
    ),
    "peft": (
        pair(
            "base_model.model.mid_block.attentions.0.transformer_blocks.0.attn1.to_k.lora_A.weight",
            "base_model.model.mid_block.attentions.0.transformer_blocks.0.attn1.to_k.lora_B.weight",
        ),
        {"format": "pt"},
    ),
    "peft, named": (
        {
            name: value
            for adapter in ("default", "style")
            for name, value in pair(
                f"base_model.model.text_model.encoder.layers.0.mlp.fc1.lora_A.{adapter}.weight",
                f"base_model.model.text_model.encoder.layers.0.mlp.fc1.lora_B.{adapter}.weight",
            ).items()
        },
        {"format": "pt"},
    ),
    "OneTrainer": (
        {**lora(f"{BLOCKS}_attn1_to_q"), "bundle_emb.zwk.clip_l": random(2, 8)},
        {
            "ot_branch": "master",
            "ot_revision": "0123abc",
            "ot_config": json.dumps(
                {
                    "base_model_name": "stabilityai/stable-diffusion-xl-base-1.0",
                    "lora_rank": 4,
                    "lora_alpha": 2.0,
                    "learning_rate": 0.0003,
                    "optimizer": {"optimizer": "ADAMW"},
                    "epochs": 100,
                }
            ),
            "ss_base_model_version": "sdxl_",
        },
    ),
    "ai-toolkit": (
        {name: value.bfloat16() for name, value in lora(f"{BLOCKS}_attn2_to_v", into=2048).items()},
        {
            "software": json.dumps({"name": "ai-toolkit", "repo": "…", "version": "0.2.1"}),
            "training_info": json.dumps({"step": 2000, "epoch": 19}),
            "name": "zwk",
        },
    ),
    "LyCORIS": (
        {
            f"{SGM}_attn1_to_q.hada_w1_a": random(16, RANK),
            f"{SGM}_attn1_to_q.hada_w1_b": random(RANK, 24),
            f"{SGM}_attn1_to_q.hada_w2_a": random(16, RANK, seed=1),
            f"{SGM}_attn1_to_q.hada_w2_b": random(RANK, 24, seed=1),
            f"{SGM}_attn1_to_q.alpha": torch.tensor(2.0),
            f"{SGM}_ff_net_2.lokr_w1": random(4, 4),
            f"{SGM}_ff_net_2.lokr_w2_a": random(4, RANK),
            f"{SGM}_ff_net_2.lokr_w2_b": random(RANK, 6),
            f"{SGM}_ff_net_2.alpha": torch.tensor(2.0),
            "lora_unet_input_blocks_4_0_in_layers_2.lora_down.weight": random(RANK, 8, 1, 1),
            "lora_unet_input_blocks_4_0_in_layers_2.lora_mid.weight": random(RANK, RANK, 3, 3),
            "lora_unet_input_blocks_4_0_in_layers_2.lora_up.weight": random(16, RANK, 1, 1),
            f"{SGM}_attn2_to_q.diff": random(16, 24),
            f"{SGM}_attn2_to_q.diff_b": random(16),
            **lora(f"{SGM}_attn1_to_v"),
            f"{SGM}_attn1_to_v.dora_scale": random(1, 24),
        },
        {"ss_network_module": "lycoris.kohya"},
    ),
    "peft DoRA": (
        {
            **pair(f"{DOTTED}.attn1.to_q.lora_A.weight", f"{DOTTED}.attn1.to_q.lora_B.weight"),
            f"{DOTTED}.attn1.to_q.lora_magnitude_vector": random(16),
        },
        {},
    ),
}
"""Tensors and header by the name under which people know the format."""
