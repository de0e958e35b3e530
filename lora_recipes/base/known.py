"""The configurations that are known to be trained right, key by key.

A key that is not in these tables does not reach a library: diffusers and transformers would take
`_attn_implementation`, `auto_map` or `quantization_config` as an order to fetch or run something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_recipes.base.components import TOKENS
from lora_recipes.base.values import (
    FLAG,
    MAYBE,
    NOTHING,
    OFF,
    Anything,
    Each,
    Either,
    Kind,
    Number,
    One,
    Whole,
    optional,
)

LEVELS, VAE_LEVELS = 3, 4
"""Blocks on the way down: an adapter's names have room for SDXL's three, and latents are 1/8."""

DOWN = ("DownBlock2D", "CrossAttnDownBlock2D")
UP = {"DownBlock2D": "UpBlock2D", "CrossAttnDownBlock2D": "CrossAttnUpBlock2D"}
"""The block on the way up that mirrors one on the way down."""

ACTIVATIONS = One(("silu", "swish", "mish", "gelu", "relu"))


@dataclass(frozen=True)
class Key:
    """A key of a configuration that is understood."""

    kind: Kind
    needed: bool = False
    """Whether it has to be there, for nothing safe can be assumed."""
    passed: bool = True
    """Whether the library gets it."""


def _needed(kind: Kind) -> Key:
    return Key(kind, needed=True)


def _each_or_one(kind: Kind, length: int) -> Either:
    return Either((kind, Each(kind, length)))


UNET: Mapping[str, Key] = {
    "_class_name": Key(One(("UNet2DConditionModel",))),
    "sample_size": Key(Either((Whole(1, 4096), Each(Whole(1, 4096), 2), NOTHING))),
    "in_channels": _needed(Whole(1, 64)),
    "out_channels": _needed(Whole(1, 64)),
    "center_input_sample": Key(One((False,))),
    "flip_sin_to_cos": Key(FLAG),
    "freq_shift": Key(Number(-8, 8)),
    "down_block_types": _needed(Each(One(DOWN), LEVELS)),
    "mid_block_type": Key(One(("UNetMidBlock2DCrossAttn",))),
    "up_block_types": _needed(Each(One(tuple(UP.values())), LEVELS)),
    "only_cross_attention": Key(Either((One((False,)), Each(One((False,)), LEVELS)))),
    "block_out_channels": _needed(Each(Whole(2, 8192), LEVELS)),
    "layers_per_block": Key(_each_or_one(Whole(2, 2), LEVELS)),
    "downsample_padding": Key(Whole(0, 2)),
    "mid_block_scale_factor": Key(Number(0.01, 100)),
    "dropout": Key(Number(0, 0.99)),
    "act_fn": Key(ACTIVATIONS),
    "norm_num_groups": Key(Whole(1, 1024)),
    "norm_eps": Key(Number(1e-12, 0.1)),
    "cross_attention_dim": _needed(Whole(2, 65536)),
    "transformer_layers_per_block": Key(_each_or_one(Whole(1, 64), LEVELS)),
    "reverse_transformer_layers_per_block": Key(NOTHING),
    "encoder_hid_dim": Key(NOTHING),
    "encoder_hid_dim_type": Key(NOTHING),
    "attention_head_dim": Key(_each_or_one(Whole(1, 1024), LEVELS)),
    "num_attention_heads": Key(NOTHING),
    "dual_cross_attention": Key(One((False,))),
    "use_linear_projection": Key(FLAG),
    "class_embed_type": Key(NOTHING),
    "addition_embed_type": _needed(One(("text_time",))),
    "addition_time_embed_dim": _needed(Whole(2, 8192)),
    "num_class_embeds": Key(NOTHING),
    "upcast_attention": Key(MAYBE),
    "resnet_time_scale_shift": Key(One(("default",))),
    "resnet_skip_time_act": Key(One((False,))),
    "resnet_out_scale_factor": Key(One((1, 1.0))),
    "time_embedding_type": Key(One(("positional",))),
    "time_embedding_dim": Key(NOTHING),
    "time_embedding_act_fn": Key(NOTHING),
    "timestep_post_act": Key(NOTHING),
    "time_cond_proj_dim": Key(NOTHING),
    "conv_in_kernel": Key(One((3,))),
    "conv_out_kernel": Key(One((3,))),
    "projection_class_embeddings_input_dim": _needed(Whole(1, 131072)),
    "attention_type": Key(One(("default",))),
    "class_embeddings_concat": Key(OFF),
    "mid_block_only_cross_attention": Key(OFF),
    "cross_attention_norm": Key(NOTHING),
    "addition_embed_type_num_heads": Key(Whole(1, 1024)),
}

VAE: Mapping[str, Key] = {
    "_class_name": Key(One(("AutoencoderKL",))),
    "in_channels": Key(One((3,))),
    "out_channels": Key(One((3,))),
    "down_block_types": _needed(Each(One(("DownEncoderBlock2D",)), VAE_LEVELS)),
    "up_block_types": _needed(Each(One(("UpDecoderBlock2D",)), VAE_LEVELS)),
    "block_out_channels": _needed(Each(Whole(2, 8192), VAE_LEVELS)),
    "layers_per_block": _needed(Whole(1, 16)),
    "act_fn": Key(ACTIVATIONS),
    "latent_channels": Key(Whole(1, 64)),
    "norm_num_groups": Key(Whole(1, 1024)),
    "sample_size": Key(Either((Whole(1, 65536), Each(Whole(1, 65536), 2), NOTHING))),
    "scaling_factor": _needed(Number(1e-3, 1e3)),
    "shift_factor": Key(One((None, 0, 0.0))),
    "latents_mean": Key(NOTHING),
    "latents_std": Key(NOTHING),
    "force_upcast": Key(MAYBE),
    "use_quant_conv": Key(FLAG),
    "use_post_quant_conv": Key(FLAG),
    "mid_block_add_attention": Key(FLAG),
}

_TOKEN = optional(Whole(0, 2**24))

TEXT: Mapping[str, Key] = {
    "model_type": Key(One(("clip_text_model",)), passed=False),
    "architectures": Key(
        optional(Each(One(("CLIPTextModel", "CLIPTextModelWithProjection")), 1)), passed=False
    ),
    "vocab_size": _needed(Whole(3, 2**24)),
    "hidden_size": _needed(Whole(1, 65536)),
    "intermediate_size": _needed(Whole(1, 2**20)),
    "projection_dim": Key(Whole(1, 65536)),
    "num_hidden_layers": _needed(Whole(2, 128)),
    "num_attention_heads": _needed(Whole(1, 1024)),
    "max_position_embeddings": Key(Whole(TOKENS, 8192)),
    "hidden_act": Key(One(("quick_gelu", "gelu", "gelu_new", "gelu_pytorch_tanh", "silu", "relu"))),
    "layer_norm_eps": Key(Number(1e-12, 0.1)),
    "attention_dropout": Key(Number(0, 0.99)),
    "pad_token_id": Key(_TOKEN),
    "bos_token_id": Key(_TOKEN),
    "eos_token_id": Key(_TOKEN),
}

CONFIGURATIONS = {"unet": UNET, "vae": VAE, "text_encoder": TEXT, "text_encoder_2": TEXT}

SCHEDULERS = (
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
)
"""Samplers of diffusers 0.42.1 whose noise is DDPM's list of betas, and that draw a picture from
noise without a further package. LMSDiscrete needs scipy, DPMSolverSDE torchsde; RePaint and the
inverse ones start from a picture; CogVideoX, unCLIP and Wuerstchen have schedules of their own."""

PREDICTIONS = ("epsilon", "v_prediction")

_STEPS = Whole(100, 10_000)
_ORDER = Whole(1, 3)
_FIXED = ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log")

SCHEDULER: Mapping[str, Key] = {
    "_class_name": _needed(One(SCHEDULERS)),
    "num_train_timesteps": _needed(_STEPS),
    "beta_start": _needed(Number(1e-6, 0.999)),
    "beta_end": _needed(Number(1e-6, 0.999)),
    "beta_schedule": _needed(One(("scaled_linear",))),
    "trained_betas": Key(NOTHING),
    "prediction_type": Key(One(PREDICTIONS)),
    "rescale_betas_zero_snr": Key(OFF),
    "timestep_type": Key(One(("discrete",))),
    "use_flow_sigmas": Key(OFF),
    "flow_shift": Key(One((None, 1, 1.0))),
    "use_dynamic_shifting": Key(OFF),
    "variance_type": Key(One((None, *_FIXED))),
    "sigma_min": Key(NOTHING),
    "sigma_max": Key(NOTHING),
    "shift_terminal": Key(NOTHING),
    # What follows is about drawing; it changes nothing that is trained.
    "algorithm_type": Key(
        One(("deis", "dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++",
             "data_prediction", "noise_prediction"))
    ),
    "clip_sample": Key(MAYBE),
    "clip_sample_range": Key(Number(1e-3, 1e3)),
    "corrector_order": Key(_ORDER),
    "disable_corrector": Key(Anything(), passed=False),
    "dynamic_thresholding_ratio": Key(Number(0, 1)),
    "euler_at_final": Key(FLAG),
    "final_sigmas_type": Key(One(("zero", "sigma_min"))),
    "interpolation_type": Key(One(("linear", "log_linear"))),
    "lambda_min_clipped": Key(Number(float("-inf"), 0)),
    "lower_order_final": Key(FLAG),
    "original_inference_steps": Key(Whole(1, 10_000)),
    "predict_x0": Key(FLAG),
    "predictor_order": Key(_ORDER),
    "sample_max_value": Key(Number(1e-3, 1e3)),
    "set_alpha_to_one": Key(FLAG),
    "skip_prk_steps": Key(FLAG),
    "solver_order": Key(_ORDER),
    "solver_p": Key(NOTHING),
    "solver_type": Key(One(("bh1", "bh2", "heun", "logrho", "midpoint"))),
    "steps_offset": Key(Whole(0, 10)),
    "tau_func": Key(NOTHING),
    "thresholding": Key(One((None, False))),
    "time_shift_type": Key(One(("exponential", "linear"))),
    "timestep_scaling": Key(Number(1e-3, 1e3)),
    "timestep_spacing": Key(One(("leading", "linspace", "trailing"))),
    "use_beta_sigmas": Key(OFF),
    "use_exponential_sigmas": Key(MAYBE),
    "use_karras_sigmas": Key(MAYBE),
    "use_lu_lambdas": Key(OFF),
}  # fmt: skip
"""The keys of all of them together, since a scheduler keeps those of the one it was made from."""

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "unet": {
        "mid_block_type": "UNetMidBlock2DCrossAttn", "layers_per_block": 2, "norm_num_groups": 32,
        "transformer_layers_per_block": 1, "attention_head_dim": 8, "use_linear_projection": False,
    },
    "vae": {
        "latent_channels": 4, "norm_num_groups": 32, "use_quant_conv": True,
        "use_post_quant_conv": True, "mid_block_add_attention": True,
    },
    "text_encoder": {"projection_dim": 512, "max_position_embeddings": TOKENS},
    "text_encoder_2": {"projection_dim": 512, "max_position_embeddings": TOKENS},
    "scheduler": {"prediction_type": "epsilon"},
}  # fmt: skip
"""What the libraries take where a configuration does not say, as far as shapes depend on it.

Source: diffusers 0.42.1, UNet2DConditionModel and AutoencoderKL; transformers 5.23, CLIPTextConfig.
"""


def understood(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a library may see of a part's configuration: known keys, and nothing else.

    Args:
        name: the part, `unet`, `vae`, `text_encoder`, `text_encoder_2` or `scheduler`.
    """
    keys = SCHEDULER if name == "scheduler" else CONFIGURATIONS[name]
    return {key: value for key, value in config.items() if key in keys and keys[key].passed}
