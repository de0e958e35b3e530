"""What the sources of the shipped recipes state, by recipe: an edit of such a value fails here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lora_recipes.recipe.layers import recipe_names
from lora_recipes.recipe.load import load_recipe
from lora_recipes.recipe.values import value_of

ROOT = Path(__file__).parent.parent.parent

# DB, README: huggingface/diffusers at 58eb52c0, examples/dreambooth/train_dreambooth_lora_sdxl.py
#   and README_sdxl.md. A number after a colon is a line.
# PRESET: bmaltais/kohya_ss at 45088f04, presets/lora/<the preset's name>.json; the field is named.
# SDS: kohya-ss/sd-scripts at 48d368fa. COG: replicate/cog-sdxl at c79cb3c9.
# ADAFACTOR: transformers, optimization.py, the defaults of class Adafactor.

SDXL = "stabilityai/stable-diffusion-xl-base-1.0"

PUBLISHED: dict[str, dict[str, Any]] = {
    # Segmind blog, "Understanding Dreambooth LoRA Fine-tuning Parameters": the parameter's name
    "segmind-dreambooth": {
        "base.model": SDXL,  # the pipeline fine-tunes SDXL
        "prepare.resolution": 1024,  # resolution
        "prepare.crop": "none",  # resolution: pictures are 1:1; center crop is a choice
        "lora.rank": 128,  # rank
        "train.repeats": 80,  # repeats
        "train.epochs": 1,  # epochs
        "train.gradient_accumulation": 4,  # gradient accumulation steps
        "train.learning_rate": 1e-4,  # learning rate
        "train.scheduler": "constant",  # learning rate scheduler
        "train.optimizer": "adafactor",  # optimizer
        "train.weight_decay": 0.01,  # weight decay
        "train.adafactor.relative_step": False,  # relative step
        "train.adafactor.scale_parameter": False,  # scale parameter
        "train.adafactor.warmup_init": False,  # warmup init
        "train.max_grad_norm": 0,  # max grad norm: 0 is off
        "train.noise_offset": 0,  # noise offset
    },
    "object-diffusers": {
        "base.model": SDXL,  # README:74
        "base.vae": "madebyollin/sdxl-vae-fp16-fix",  # README:77
        "dataset.trigger": "sks",  # README:85
        "dataset.class_word": "dog",  # README:85
        "dataset.template": "a photo of {trigger} {class_word}",  # README:85
        "prepare.resolution": 1024,  # README:86
        "prepare.crop": "random",  # DB:423 center_crop is off, DB:813
        "encode.vae_precision": "fp32",  # DB:1180 in any case, with the fp16-fix VAE too
        "lora.rank": 4,  # DB:658
        "lora.alpha": 4,  # DB:1209 lora_alpha is the rank
        "lora.targets": "attention",  # DB:1225
        "train.repeats": 1,  # DB:336
        "train.epochs": "auto",  # DB:449: max_train_steps counts
        "train.steps": 500,  # README:93
        "train.batch_size": 1,  # README:87
        "train.gradient_accumulation": 4,  # README:88
        "train.learning_rate": 1e-4,  # README:89
        "train.scheduler": "constant",  # README:91
        "train.warmup_steps": 0,  # README:92
        "train.optimizer": "adamw",  # DB:546
        "train.weight_decay": 1e-4,  # DB:572
        "train.adamw.beta1": 0.9,  # DB:559
        "train.adamw.beta2": 0.999,  # DB:562
        "train.adamw.eps": 1e-8,  # DB:578
        "train.max_grad_norm": 1,  # DB:597
        "train.noise_offset": 0,  # DB has none
        "train.seed": 0,  # README:96
        "sample.steps": 25,  # README:141
        "compute.precision": "fp16",  # README:84
        "compute.gradient_checkpointing": False,  # README: for less memory only
    },
    # PRESET "SDXL - LoRA aitrepreneur clothing v1.0"
    "product-clothing": {
        "prepare.resolution": 1024,  # max_resolution
        "prepare.buckets": True,  # enable_bucket
        "prepare.bucket_step": 64,  # bucket_reso_steps
        "prepare.min_bucket": 256,  # min_bucket_reso
        "prepare.max_bucket": 2048,  # max_bucket_reso
        "prepare.crop": "center",  # random_crop is false
        "prepare.upscale": False,  # bucket_no_upscale is true
        "encode.vae_precision": "fp32",  # sdxl_no_half_vae
        "lora.rank": 128,  # network_dim
        "lora.alpha": 1,  # network_alpha
        "lora.targets": "transformer",  # LoRA_type Standard: SDS networks/lora.py:867
        "train.epochs": 15,  # epoch; max_train_steps is empty
        "train.batch_size": 1,  # train_batch_size
        "train.gradient_accumulation": 2,  # gradient_accumulation_steps
        "train.learning_rate": 9e-4,  # unet_lr
        "train.scheduler": "constant",  # lr_scheduler
        "train.warmup_steps": 0,  # lr_warmup
        "train.optimizer": "adafactor",  # optimizer
        "train.adafactor.relative_step": False,  # optimizer_args
        "train.adafactor.scale_parameter": False,  # optimizer_args
        "train.adafactor.warmup_init": False,  # optimizer_args
        "train.adafactor.clip_threshold": 1,  # ADAFACTOR
        "train.adafactor.eps": (1e-30, 1e-3),  # ADAFACTOR
        "train.adafactor.decay_rate": -0.8,  # ADAFACTOR
        "train.adafactor.beta1": "none",  # ADAFACTOR
        "train.weight_decay": 0,  # ADAFACTOR
        "train.max_grad_norm": 1,  # not in the preset: SDS library/train_util.py:3703
        "train.noise_offset": 0,  # noise_offset
        "train.seed": 12345,  # seed
        "compute.precision": "bf16",  # mixed_precision
        "compute.gradient_checkpointing": True,  # gradient_checkpointing
    },
    # PRESET "SDXL - LoRA adafactor v1.0"
    "adafactor-relative": {
        "prepare.resolution": 1024,  # max_resolution
        "prepare.buckets": True,  # enable_bucket
        "prepare.bucket_step": 32,  # bucket_reso_steps
        "prepare.min_bucket": 64,  # min_bucket_reso
        "prepare.max_bucket": 2048,  # max_bucket_reso
        "prepare.crop": "center",  # random_crop is false
        "prepare.upscale": True,  # bucket_no_upscale is false
        "encode.vae_precision": "fp32",  # sdxl_no_half_vae
        "lora.rank": 128,  # network_dim
        "lora.alpha": 128,  # network_alpha
        "lora.targets": "transformer",  # LoRA_type Standard: SDS networks/lora.py:867
        "train.batch_size": 5,  # train_batch_size
        "train.gradient_accumulation": 1,  # gradient_accumulation_steps
        "train.learning_rate": "auto",  # unet_lr 1.0 is dropped: SDS train_util.py:5058-5081
        "train.scheduler": "constant",  # lr_scheduler adafactor only shows the optimizer's step
        "train.warmup_steps": 0,  # lr_warmup
        "train.optimizer": "adafactor",  # optimizer
        "train.adafactor.relative_step": True,  # optimizer_args empty: SDS train_util.py:5049
        "train.adafactor.scale_parameter": True,  # optimizer_args empty: ADAFACTOR
        "train.adafactor.warmup_init": False,  # optimizer_args empty: ADAFACTOR
        "train.adafactor.clip_threshold": 1,  # ADAFACTOR
        "train.adafactor.eps": (1e-30, 1e-3),  # ADAFACTOR
        "train.adafactor.decay_rate": -0.8,  # ADAFACTOR
        "train.adafactor.beta1": "none",  # ADAFACTOR
        "train.weight_decay": 0,  # ADAFACTOR
        "train.max_grad_norm": 1,  # not in the preset: SDS library/train_util.py:3703
        "train.noise_offset": 0.0357,  # noise_offset
        "compute.precision": "bf16",  # mixed_precision
        "compute.gradient_checkpointing": True,  # gradient_checkpointing
    },
    # PRESET "SDXL - LoRA by malcolmrey training v1.0"
    "portrait": {
        "prepare.resolution": 1024,  # max_resolution
        "prepare.buckets": True,  # enable_bucket
        "prepare.bucket_step": 32,  # bucket_reso_steps
        "prepare.min_bucket": 256,  # min_bucket_reso
        "prepare.max_bucket": 2048,  # max_bucket_reso
        "prepare.crop": "center",  # random_crop is false
        "prepare.upscale": True,  # bucket_no_upscale is false
        "encode.vae_precision": "fp32",  # sdxl_no_half_vae
        "lora.rank": 32,  # network_dim
        "lora.alpha": 13,  # network_alpha
        "lora.targets": "transformer",  # LoRA_type Standard: SDS networks/lora.py:867
        "train.batch_size": 8,  # train_batch_size
        "train.gradient_accumulation": 1,  # gradient_accumulation_steps
        "train.learning_rate": 1e-4,  # unet_lr
        "train.scheduler": "constant",  # lr_scheduler
        "train.warmup_steps": 0,  # lr_warmup
        "train.optimizer": "adamw",  # optimizer AdamW8bit, whose state has 8 bits
        "train.weight_decay": 0.01,  # not in the preset: bitsandbytes.optim.AdamW8bit
        "train.adamw.beta1": 0.9,  # bitsandbytes.optim.AdamW8bit
        "train.adamw.beta2": 0.999,  # bitsandbytes.optim.AdamW8bit
        "train.adamw.eps": 1e-8,  # bitsandbytes.optim.AdamW8bit
        "train.max_grad_norm": 1,  # not in the preset: SDS library/train_util.py:3703
        "train.loss_weighting": "min_snr",  # min_snr_gamma
        "train.snr_gamma": 5,  # min_snr_gamma
        "train.noise_offset": 0,  # noise_offset
        "compute.precision": "bf16",  # mixed_precision
        "compute.gradient_checkpointing": True,  # gradient_checkpointing
    },
    "quick-cog": {
        "dataset.trigger": "TOK",  # COG train.py:86
        "dataset.template": "a photo of {trigger}",  # COG train.py:94
        "prepare.resolution": 768,  # COG train.py:34
        "encode.vae_precision": "fp32",  # COG trainer_pti.py:202
        "lora.rank": 32,  # COG train.py:70
        "lora.alpha": 32,  # COG trainer_pti.py:168 gives no network_alpha: the scale is 1
        "lora.targets": "attention",  # COG trainer_pti.py:168, all attention processors
        "train.repeats": 1,  # COG trainer_pti.py:198: each picture once an epoch
        "train.epochs": "auto",  # COG train.py:46: steps take precedence
        "train.steps": 1000,  # COG train.py:46
        "train.batch_size": 4,  # COG train.py:38
        "train.gradient_accumulation": 1,  # COG train.py:169
        "train.learning_rate": 1e-4,  # COG train.py:66
        "train.scheduler": "constant",  # COG train.py:74
        "train.warmup_steps": 0,  # COG train.py:82 asks for 100; "constant" ignores them
        "train.optimizer": "adamw",  # COG trainer_pti.py:191
        "train.weight_decay": 1e-4,  # COG trainer_pti.py:193
        "train.adamw.beta1": 0.9,  # torch.optim.AdamW
        "train.adamw.beta2": 0.999,  # torch.optim.AdamW
        "train.adamw.eps": 1e-8,  # torch.optim.AdamW
        "train.max_grad_norm": 0,  # COG train.py:180 asks for 1.0, and trainer_pti.py never clips
        "train.noise_offset": 0,  # COG trainer_pti.py has none
        "compute.precision": "bf16",  # COG train.py:182
        "compute.gradient_checkpointing": False,  # COG trainer_pti.py has none
    },
}

STATED = [(name, key) for name, values in PUBLISHED.items() for key in values]


@pytest.mark.parametrize(("name", "key"), STATED, ids=[f"{name}-{key}" for name, key in STATED])
def test_a_published_value_is_what_its_source_states(name: str, key: str):
    assert value_of(load_recipe(ROOT, name).recipe, key) == PUBLISHED[name][key]


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_a_published_recipe_sets_is_in_the_table_or_marked_as_not_published(name: str):
    text = (ROOT / "recipes" / f"{name}.yaml").read_text("utf-8")
    lines = text.splitlines()
    marked = {key for key, line in _set_keys(text) if _is_marked(lines[line])}
    unmarked = {key for key, _ in _set_keys(text)} - marked
    assert unmarked - {"sample.prompts"} <= set(PUBLISHED[name])
    assert not marked & set(PUBLISHED[name]), "a value is either published or not"


def test_the_prompt_that_a_source_states_comes_first():
    prompts = load_recipe(ROOT, "object-diffusers").recipe.sample.prompts
    assert prompts[0] == "A photo of {trigger} {class_word} in a bucket"  # README:94


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_says_what_is_published_different_and_its_own(name: str):
    description = load_recipe(ROOT, name).recipe.description
    said = [description.find(word) for word in ("Source: ", "Different: ", "Assumed", "Ours: ")]
    assert -1 not in said
    assert said == sorted(said)


@pytest.mark.parametrize("name", ["product-clothing", "adafactor-relative", "portrait"])
def test_a_kohya_recipe_says_that_its_source_trains_the_text_encoders_too(name: str):
    assert "trains both text encoders" in load_recipe(ROOT, name).recipe.description


@pytest.mark.parametrize("name", recipe_names(ROOT))
def test_every_shipped_recipe_keeps_snapshots(name: str):
    expected = (0.2, 0.4, 0.6, 0.8) if name == "product-clothing" else (0.25, 0.5, 0.75)
    assert load_recipe(ROOT, name).recipe.train.snapshots == expected


def test_the_views_of_an_image_are_those_that_adafactor_relative_tells():
    train = load_recipe(ROOT, "adafactor-relative").recipe.train
    assert train.repeats * train.epochs == 30 * 4  # PRESET max_train_epochs 30; 4 is assumed


def test_the_views_of_a_photo_are_those_that_portrait_tells():
    train = load_recipe(ROOT, "portrait").recipe.train
    assert train.repeats * train.epochs == 16 * 10  # PRESET max_train_epochs 16; 10 is assumed


def _is_marked(line: str) -> bool:
    return "# assumed" in line or "# ours" in line


def _set_keys(text: str) -> list[tuple[str, int]]:
    """(dotted key, index of its line) for each key that a recipe's sections set."""
    document = yaml.compose(text)
    found = []
    for name, section in document.value:
        if isinstance(section, yaml.MappingNode):
            found += _leaves(section, f"{name.value}.")
    assert found
    return found


def _leaves(node: yaml.MappingNode, prefix: str) -> list[tuple[str, int]]:
    found = []
    for name, value in node.value:
        if isinstance(value, yaml.MappingNode):
            found += _leaves(value, f"{prefix}{name.value}.")
        else:
            found.append((prefix + name.value, name.start_mark.line))
    return found
