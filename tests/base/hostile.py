"""Base models that must be refused by name: the pocket with one thing changed.

Each case is a file of the model, what is changed in it, and what the first problem says of it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

UNET, VAE = "unet/config.json", "vae/config.json"
TEXT, TEXT_2 = "text_encoder/config.json", "text_encoder_2/config.json"
SCHEDULER, INDEX = "scheduler/scheduler_config.json", "model_index.json"
UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
VAE_WEIGHTS = "vae/diffusion_pytorch_model.safetensors"
TEXT_WEIGHTS = "text_encoder/model.safetensors"
GONE = object()
"""Stands for a key that is taken away."""

NAN, ENDLESS = float("nan"), float("inf")

SCHEDULES: list[tuple[dict[str, Any], str]] = [
    ({"_class_name": "EDMEulerScheduler"}, '_class_name = "EDMEulerScheduler"'),
    ({"_class_name": "FlowMatchEulerDiscreteScheduler"},
     '_class_name = "FlowMatchEulerDiscreteScheduler"'),
    ({"_class_name": "SchedulerMixin"}, '_class_name = "SchedulerMixin"'),
    ({"_class_name": "LMSDiscreteScheduler"}, '_class_name = "LMSDiscreteScheduler"'),
    ({"_class_name": "RePaintScheduler"}, '_class_name = "RePaintScheduler"'),
    ({"_class_name": 7}, "_class_name = 7"),
    ({"_class_name": ["EulerDiscreteScheduler"]}, '_class_name = ["EulerDiscreteScheduler"]'),
    ({"_class_name": GONE}, "_class_name is not stated"),
    ({"trained_betas": [0.001] * 1000}, "trained_betas = [0.001, 0.001"),
    ({"beta_schedule": "linear"}, 'beta_schedule = "linear"'),
    ({"beta_schedule": "squaredcos_cap_v2"}, 'beta_schedule = "squaredcos_cap_v2"'),
    ({"beta_schedule": None}, "beta_schedule = null"),
    ({"beta_schedule": GONE}, "beta_schedule is not stated"),
    ({"beta_start": "x"}, 'beta_start = "x"'),
    ({"beta_start": "0.00085"}, 'beta_start = "0.00085"'),
    ({"beta_start": -1}, "beta_start = -1"),
    ({"beta_start": 0}, "beta_start = 0"),
    ({"beta_start": NAN}, "beta_start = NaN"),
    ({"beta_start": True}, "beta_start = true"),
    ({"beta_start": 0.02}, "beta_start = 0.02"),
    ({"beta_start": GONE}, "beta_start is not stated"),
    ({"beta_end": ENDLESS}, "beta_end = Infinity"),
    ({"beta_end": 1}, "beta_end = 1"),
    ({"beta_end": 10**400}, "beta_end = 1000000000"),
    ({"beta_end": 0.5}, "beta_end = 0.5"),
    ({"beta_end": [0.012]}, "beta_end = [0.012]"),
    ({"num_train_timesteps": -5}, "num_train_timesteps = -5"),
    ({"num_train_timesteps": 0}, "num_train_timesteps = 0"),
    ({"num_train_timesteps": 2.5}, "num_train_timesteps = 2.5"),
    ({"num_train_timesteps": 1000.0}, "num_train_timesteps = 1000.0"),
    ({"num_train_timesteps": 10**12}, "num_train_timesteps = 1000000000000"),
    ({"num_train_timesteps": GONE}, "num_train_timesteps is not stated"),
    ({"prediction_type": "sample"}, 'prediction_type = "sample"'),
    ({"prediction_type": "flow_prediction"}, 'prediction_type = "flow_prediction"'),
    ({"prediction_type": None}, "prediction_type = null"),
    ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr = true"),
    ({"rescale_betas_zero_snr": "false"}, 'rescale_betas_zero_snr = "false"'),
    ({"rescale_betas_zero_snr": 1}, "rescale_betas_zero_snr = 1"),
    ({"timestep_type": "continuous"}, 'timestep_type = "continuous"'),
    ({"sigma_data": 1.0}, "sigma_data = 1.0"),
    ({"sigma_max": 120.0}, "sigma_max = 120.0"),
    ({"sigma_min": 0.002}, "sigma_min = 0.002"),
    ({"shift": 3.0}, "shift = 3.0"),
    ({"flow_shift": 3.0}, "flow_shift = 3.0"),
    ({"use_flow_sigmas": True}, "use_flow_sigmas = true"),
    ({"use_dynamic_shifting": True}, "use_dynamic_shifting = true"),
    ({"variance_type": "learned"}, 'variance_type = "learned"'),
    ({"steps_offset": "x"}, 'steps_offset = "x"'),
    ({"timestep_spacing": "foo"}, 'timestep_spacing = "foo"'),
    ({"use_karras_sigmas": True, "use_exponential_sigmas": True}, "use_exponential_sigmas = true"),
    ({"novel_noise": 2}, "novel_noise = 2"),
]  # fmt: skip

CONFIGURATIONS: list[tuple[str, dict[str, Any], str]] = [
    (UNET, {"layers_per_block": 10_000_000}, "layers_per_block = 10000000"),
    (UNET, {"layers_per_block": "2"}, 'layers_per_block = "2"'),
    (UNET, {"transformer_layers_per_block": [1, 1, 10**9]}, "transformer_layers_per_block = [1"),
    (UNET, {"transformer_layers_per_block": [[1], [1], [2]]}, "transformer_layers_per_block = [["),
    (UNET, {"block_out_channels": [10**12] * 3}, "block_out_channels = [1000000000000"),
    (UNET, {"block_out_channels": [64, 64]}, "block_out_channels = [64, 64]"),
    (UNET, {"block_out_channels": 64}, "block_out_channels = 64"),
    (UNET, {"block_out_channels": [64, 64, -80]}, "block_out_channels = [64, 64, -80]"),
    (UNET, {"block_out_channels": GONE}, "block_out_channels is not stated"),
    (UNET, {"block_out_channels": [64, 64, 81]}, "block_out_channels = [64, 64, 81]"),
    (UNET, {"down_block_types": ["Evil", "DownBlock2D", "DownBlock2D"]}, "down_block_types = ["),
    (UNET, {"down_block_types": "DownBlock2D"}, 'down_block_types = "DownBlock2D"'),
    (UNET, {"up_block_types": ["UpBlock2D"] * 3}, 'up_block_types = ["UpBlock2D"'),
    (UNET, {"mid_block_type": None}, "mid_block_type = null"),
    (UNET, {"norm_num_groups": 0}, "norm_num_groups = 0"),
    (UNET, {"norm_num_groups": 7}, "block_out_channels = [64, 64, 80]"),
    (UNET, {"attention_head_dim": [2, 4, 7]}, "block_out_channels = [64, 64, 80]"),
    (UNET, {"attention_head_dim": None}, "attention_head_dim = null"),
    (UNET, {"cross_attention_dim": "x"}, 'cross_attention_dim = "x"'),
    (UNET, {"cross_attention_dim": 128}, "cross_attention_dim = 128"),
    (UNET, {"projection_class_embeddings_input_dim": 321},
     "projection_class_embeddings_input_dim = 321"),
    (UNET, {"addition_time_embed_dim": {}}, "addition_time_embed_dim = {}"),
    (UNET, {"act_fn": "evil"}, 'act_fn = "evil"'),
    (UNET, {"norm_eps": NAN}, "norm_eps = NaN"),
    (UNET, {"dropout": "x"}, 'dropout = "x"'),
    (UNET, {"time_cond_proj_dim": 256}, "time_cond_proj_dim = 256"),
    (UNET, {"class_embed_type": "timestep"}, 'class_embed_type = "timestep"'),
    (UNET, {"encoder_hid_dim_type": "text_proj"}, 'encoder_hid_dim_type = "text_proj"'),
    (UNET, {"freq_shift": "x"}, 'freq_shift = "x"'),
    (UNET, {"sample_size": [1, 2, 3]}, "sample_size = [1, 2, 3]"),
    (UNET, {"_class_name": "UNet3DConditionModel"}, '_class_name = "UNet3DConditionModel"'),
    (UNET, {"in_channels": 4.0, "out_channels": 4.0}, "in_channels = 4.0"),
    (UNET, {"prediction_type": "v_prediction"}, 'prediction_type = "v_prediction", but '),
    (INDEX, {"prediction_type": "sample"}, 'prediction_type = "sample"'),
    (INDEX, {"force_zeros_for_empty_prompt": "no"}, 'force_zeros_for_empty_prompt = "no"'),
    (VAE, {"scaling_factor": 0}, "scaling_factor = 0"),
    (VAE, {"scaling_factor": "x"}, 'scaling_factor = "x"'),
    (VAE, {"scaling_factor": NAN}, "scaling_factor = NaN"),
    (VAE, {"scaling_factor": -0.13}, "scaling_factor = -0.13"),
    (VAE, {"scaling_factor": ENDLESS}, "scaling_factor = Infinity"),
    (VAE, {"scaling_factor": [0.1]}, "scaling_factor = [0.1]"),
    (VAE, {"scaling_factor": GONE}, "scaling_factor is not stated"),
    (VAE, {"shift_factor": 0.1}, "shift_factor = 0.1"),
    (VAE, {"latents_mean": [0, 0, 0, 0]}, "latents_mean = [0, 0, 0, 0]"),
    (VAE, {"latents_std": [1, 1, 1, 1]}, "latents_std = [1, 1, 1, 1]"),
    (VAE, {"layers_per_block": 10_000_000}, "layers_per_block = 10000000"),
    (VAE, {"latent_channels": 16}, "in_channels = 4"),
    (VAE, {"down_block_types": ["Evil"] * 4}, 'down_block_types = ["Evil"'),
    (VAE, {"norm_num_groups": 3}, "block_out_channels = [16, 32, 64, 64]"),
    (VAE, {"_class_name": "AutoencoderTiny"}, '_class_name = "AutoencoderTiny"'),
    (VAE, {"use_quant_conv": "yes"}, 'use_quant_conv = "yes"'),
    (TEXT, {"num_hidden_layers": 10_000_000}, "num_hidden_layers = 10000000"),
    (TEXT, {"num_hidden_layers": 1}, "num_hidden_layers = 1"),
    (TEXT, {"hidden_size": "128"}, 'hidden_size = "128"'),
    (TEXT, {"hidden_size": 0}, "hidden_size = 0"),
    (TEXT, {"num_attention_heads": 5}, "hidden_size = 128"),
    (TEXT, {"vocab_size": 10**15}, "vocab_size = 1000000000000000"),
    (TEXT, {"max_position_embeddings": 10}, "max_position_embeddings = 10"),
    (TEXT, {"hidden_act": "evil"}, 'hidden_act = "evil"'),
    (TEXT, {"eos_token_id": "x"}, 'eos_token_id = "x"'),
    (TEXT, {"layer_norm_eps": None}, "layer_norm_eps = null"),
    (TEXT, {"model_type": "t5"}, 'model_type = "t5"'),
    (TEXT_2, {"projection_dim": -1}, "projection_dim = -1"),
    (TEXT_2, {"intermediate_size": 10**12}, "intermediate_size = 1000000000000"),
]  # fmt: skip

HARMLESS: list[tuple[str, dict[str, Any]]] = [
    (SCHEDULER, {"sigma_max": None, "shift_terminal": None, "flow_shift": 1.0}),
    (SCHEDULER, {"clip_sample": False, "skip_prk_steps": True, "set_alpha_to_one": False}),
    (SCHEDULER, {"_class_name": "DDIMScheduler", "_diffusers_version": "0.19.0.dev0"}),
    (SCHEDULER, {"prediction_type": GONE}),
    (SCHEDULER, {"prediction_type": "v_prediction"}),
    (UNET, {"decay": 0.9999, "optimization_step": 1, "_name_or_path": "/home/x"}),
    (UNET, {"transformer_layers_per_block": [9, 1, 2]}),  # no attention there
    (VAE, {"force_upcast": None, "shift_factor": None}),
    (TEXT, {"_attn_implementation": "evil/kernel", "auto_map": {"AutoModel": "evil.Model"}}),
    (TEXT, {"attn_implementation": "evil/kernel", "quantization_config": {"quant_method": "x"}}),
    (TEXT, {"torch_dtype": "evil", "use_return_dict": 3, "eos_token_id": 2}),
    (TEXT_2, {"id2label": "x", "problem_type": 7, "dtype": {"a": "b"}}),
]  # fmt: skip
"""What real folders hold, and what a stranger may write without any effect."""


def edit(file: Path, values: dict[str, Any]) -> None:
    """Change keys of a JSON file; `GONE` takes one away."""
    whole = {**json.loads(file.read_text("utf-8")), **values}
    file.write_text(json.dumps({k: v for k, v in whole.items() if v is not GONE}), "utf-8")


def edit_header(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the header of a safetensors file and leave its data."""
    content = file.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
