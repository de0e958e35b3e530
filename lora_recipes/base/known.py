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
class KnownKey:
    """A key of a configuration that is understood."""

    kind: Kind
    needed: bool = False
    """Whether it has to be there, for nothing safe can be assumed."""
    passed: bool = True
    """Whether the library gets it."""


def _needed(kind: Kind) -> KnownKey:
    return KnownKey(kind, needed=True)


def _each_or_one(kind: Kind, length: int) -> Either:
    return Either((kind, Each(kind, length)))


UNET: Mapping[str, KnownKey] = {
    "_class_name": KnownKey(One(("UNet2DConditionModel",))),
    "sample_size": KnownKey(Either((Whole(1, 4096), Each(Whole(1, 4096), 2), NOTHING))),
    "in_channels": _needed(Whole(1, 64)),
    "out_channels": _needed(Whole(1, 64)),
    "center_input_sample": KnownKey(One((False,))),
    "flip_sin_to_cos": KnownKey(FLAG),
    "freq_shift": KnownKey(Number(-8, 8)),
    "down_block_types": _needed(Each(One(DOWN), LEVELS)),
    "mid_block_type": KnownKey(One(("UNetMidBlock2DCrossAttn",))),
    "up_block_types": _needed(Each(One(tuple(UP.values())), LEVELS)),
    "only_cross_attention": KnownKey(Either((One((False,)), Each(One((False,)), LEVELS)))),
    "block_out_channels": _needed(Each(Whole(2, 8192), LEVELS)),
    "layers_per_block": KnownKey(_each_or_one(Whole(2, 2), LEVELS)),
    "downsample_padding": KnownKey(Whole(0, 2)),
    "mid_block_scale_factor": KnownKey(Number(0.01, 100)),
    "dropout": KnownKey(Number(0, 0.99)),
    "act_fn": KnownKey(ACTIVATIONS),
    "norm_num_groups": KnownKey(Whole(1, 1024)),
    "norm_eps": KnownKey(Number(1e-12, 0.1)),
    "cross_attention_dim": _needed(Whole(2, 65536)),
    "transformer_layers_per_block": KnownKey(_each_or_one(Whole(1, 64), LEVELS)),
    "reverse_transformer_layers_per_block": KnownKey(NOTHING),
    "encoder_hid_dim": KnownKey(NOTHING),
    "encoder_hid_dim_type": KnownKey(NOTHING),
    "attention_head_dim": KnownKey(_each_or_one(Whole(1, 1024), LEVELS)),
    "num_attention_heads": KnownKey(NOTHING),
    "dual_cross_attention": KnownKey(One((False,))),
    "use_linear_projection": KnownKey(FLAG),
    "class_embed_type": KnownKey(NOTHING),
    "addition_embed_type": _needed(One(("text_time",))),
    "addition_time_embed_dim": _needed(Whole(2, 8192)),
    "num_class_embeds": KnownKey(NOTHING),
    "upcast_attention": KnownKey(MAYBE),
    "resnet_time_scale_shift": KnownKey(One(("default",))),
    "resnet_skip_time_act": KnownKey(One((False,))),
    "resnet_out_scale_factor": KnownKey(One((1, 1.0))),
    "time_embedding_type": KnownKey(One(("positional",))),
    "time_embedding_dim": KnownKey(NOTHING),
    "time_embedding_act_fn": KnownKey(NOTHING),
    "timestep_post_act": KnownKey(NOTHING),
    "time_cond_proj_dim": KnownKey(NOTHING),
    "conv_in_kernel": KnownKey(One((3,))),
    "conv_out_kernel": KnownKey(One((3,))),
    "projection_class_embeddings_input_dim": _needed(Whole(1, 131072)),
    "attention_type": KnownKey(One(("default",))),
    "class_embeddings_concat": KnownKey(OFF),
    "mid_block_only_cross_attention": KnownKey(OFF),
    "cross_attention_norm": KnownKey(NOTHING),
    "addition_embed_type_num_heads": KnownKey(Whole(1, 1024)),
}

VAE: Mapping[str, KnownKey] = {
    "_class_name": KnownKey(One(("AutoencoderKL",))),
    "in_channels": KnownKey(One((3,))),
    "out_channels": KnownKey(One((3,))),
    "down_block_types": _needed(Each(One(("DownEncoderBlock2D",)), VAE_LEVELS)),
    "up_block_types": _needed(Each(One(("UpDecoderBlock2D",)), VAE_LEVELS)),
    "block_out_channels": _needed(Each(Whole(2, 8192), VAE_LEVELS)),
    "layers_per_block": _needed(Whole(1, 16)),
    "act_fn": KnownKey(ACTIVATIONS),
    "latent_channels": KnownKey(Whole(1, 64)),
    "norm_num_groups": KnownKey(Whole(1, 1024)),
    "sample_size": KnownKey(Either((Whole(1, 65536), Each(Whole(1, 65536), 2), NOTHING))),
    "scaling_factor": _needed(Number(1e-3, 1e3)),
    "shift_factor": KnownKey(One((None, 0, 0.0))),
    "latents_mean": KnownKey(NOTHING),
    "latents_std": KnownKey(NOTHING),
    "force_upcast": KnownKey(MAYBE),
    "use_quant_conv": KnownKey(FLAG),
    "use_post_quant_conv": KnownKey(FLAG),
    "mid_block_add_attention": KnownKey(FLAG),
}

_TOKEN = optional(Whole(0, 2**24))

TEXT: Mapping[str, KnownKey] = {
    "model_type": KnownKey(One(("clip_text_model",)), passed=False),
    "architectures": KnownKey(
        optional(Each(One(("CLIPTextModel", "CLIPTextModelWithProjection")), 1)), passed=False
    ),
    "vocab_size": _needed(Whole(3, 2**24)),
    "hidden_size": _needed(Whole(1, 65536)),
    "intermediate_size": _needed(Whole(1, 2**20)),
    "projection_dim": KnownKey(Whole(1, 65536)),
    "num_hidden_layers": _needed(Whole(2, 128)),
    "num_attention_heads": _needed(Whole(1, 1024)),
    "max_position_embeddings": KnownKey(Whole(TOKENS, 8192)),
    "hidden_act": KnownKey(
        One(("quick_gelu", "gelu", "gelu_new", "gelu_pytorch_tanh", "silu", "relu"))
    ),
    "layer_norm_eps": KnownKey(Number(1e-12, 0.1)),
    "attention_dropout": KnownKey(Number(0, 0.99)),
    "pad_token_id": KnownKey(_TOKEN),
    "bos_token_id": KnownKey(_TOKEN),
    "eos_token_id": KnownKey(_TOKEN),
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

SCHEDULER: Mapping[str, KnownKey] = {
    "_class_name": _needed(One(SCHEDULERS)),
    "num_train_timesteps": _needed(_STEPS),
    "beta_start": _needed(Number(1e-6, 0.999)),
    "beta_end": _needed(Number(1e-6, 0.999)),
    "beta_schedule": _needed(One(("scaled_linear",))),
    "trained_betas": KnownKey(NOTHING),
    "prediction_type": KnownKey(One(PREDICTIONS)),
    "rescale_betas_zero_snr": KnownKey(OFF),
    "timestep_type": KnownKey(One(("discrete",))),
    "use_flow_sigmas": KnownKey(OFF),
    "flow_shift": KnownKey(One((None, 1, 1.0))),
    "use_dynamic_shifting": KnownKey(OFF),
    "variance_type": KnownKey(One((None, *_FIXED))),
    "sigma_min": KnownKey(NOTHING),
    "sigma_max": KnownKey(NOTHING),
    "shift_terminal": KnownKey(NOTHING),
    # What follows is about drawing; it changes nothing that is trained.
    "algorithm_type": KnownKey(
        One(("deis", "dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++",
             "data_prediction", "noise_prediction"))
    ),
    "clip_sample": KnownKey(MAYBE),
    "clip_sample_range": KnownKey(Number(1e-3, 1e3)),
    "corrector_order": KnownKey(_ORDER),
    "disable_corrector": KnownKey(Anything(), passed=False),
    "dynamic_thresholding_ratio": KnownKey(Number(0, 1)),
    "euler_at_final": KnownKey(FLAG),
    "final_sigmas_type": KnownKey(One(("zero", "sigma_min"))),
    "interpolation_type": KnownKey(One(("linear", "log_linear"))),
    "lambda_min_clipped": KnownKey(Number(float("-inf"), 0)),
    "lower_order_final": KnownKey(FLAG),
    "original_inference_steps": KnownKey(Whole(1, 10_000)),
    "predict_x0": KnownKey(FLAG),
    "predictor_order": KnownKey(_ORDER),
    "sample_max_value": KnownKey(Number(1e-3, 1e3)),
    "set_alpha_to_one": KnownKey(FLAG),
    "skip_prk_steps": KnownKey(FLAG),
    "solver_order": KnownKey(_ORDER),
    "solver_p": KnownKey(NOTHING),
    "solver_type": KnownKey(One(("bh1", "bh2", "heun", "logrho", "midpoint"))),
    "steps_offset": KnownKey(Whole(0, 10)),
    "tau_func": KnownKey(NOTHING),
    "thresholding": KnownKey(One((None, False))),
    "time_shift_type": KnownKey(One(("exponential", "linear"))),
    "timestep_scaling": KnownKey(Number(1e-3, 1e3)),
    "timestep_spacing": KnownKey(One(("leading", "linspace", "trailing"))),
    "use_beta_sigmas": KnownKey(OFF),
    "use_exponential_sigmas": KnownKey(MAYBE),
    "use_karras_sigmas": KnownKey(MAYBE),
    "use_lu_lambdas": KnownKey(OFF),
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
