"""Finding what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

OTHER_NAMES = {
    "gpu": "cuda",
    "nvidia": "cuda",
    "apple": "mps",
    "metal": "mps",
    "float32": "fp32",
    "float16": "fp16",
    "half": "fp16",
    "bfloat16": "bf16",
    "network_dim": "rank",
    "dim": "rank",
    "network_alpha": "alpha",
    "unet_lr": "learning_rate",
    "lr": "learning_rate",
    "lr_scheduler": "scheduler",
    "lr_warmup_steps": "warmup_steps",
    "max_train_steps": "steps",
    "max_train_epochs": "epochs",
    "num_train_epochs": "epochs",
    "train_batch_size": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation",
    "optimizer_type": "optimizer",
    "mixed_precision": "precision",
    "min_snr_gamma": "snr_gamma",
    "instance_prompt": "template",
    "others": "control",
    "lora_rank": "rank",
    "lora_alpha": "alpha",
    "max_train_epoch": "epochs",
    "learning_rate_scheduler": "scheduler",
    "learning_rate_warmup_steps": "warmup_steps",
    "clip_grad_norm": "max_grad_norm",
    "offset_noise_weight": "noise_offset",
    "dataset_repeats": "repeats",
    "num_repeats": "repeats",
    "pretrained_model_name_or_path": "model",
    "base_model_name": "model",
    "sample_prompts": "prompts",
    "validation_prompt": "prompts",
    "guidance_scale": "guidance",
    "cfg_scale": "guidance",
    "train_dtype": "precision",
    "shuffle_caption": "shuffle",
    "shuffle_tokens": "shuffle",
    "enable_tag_shuffling": "shuffle",
    "caption_separator": "separator",
    "tag_delimiter": "separator",
    "keep_tags_count": "keep_tokens",
    "caption_tag_dropout_rate": "tag_dropout",
    "token_dropout_rate": "tag_dropout",
    "caption_prefix": "prefix",
    "caption_suffix": "suffix",
    "caption_dropout_rate": "caption_dropout",
    "proportion_empty_prompts": "caption_dropout",
    "max_token_length": "max_tokens",
}
"""What other programs, kohya's and diffusers' scripts first, and people call some of our words."""


def nearest(word: object, words: Iterable[str]) -> str | None:
    """The one of `words` that means the same as `word` or looks most like it, if any does.

    >>> nearest("adamW", ["adafactor", "adamw"])
    'adamw'
    >>> nearest("gpu", ["auto", "cpu", "cuda", "mps"])
    'cuda'
    """
    by_lower = {other.lower(): other for other in words}
    same = OTHER_NAMES.get(str(word).lower(), "")
    if same in by_lower:
        return by_lower[same]
    close = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def did_you_mean(word: object, words: Iterable[str], otherwise: str) -> str:
    """`did you mean adamw?`, or another advice where nothing is near."""
    near = nearest(word, words)
    return f"did you mean {near}?" if near else otherwise
