"""The rules of the base model, and of where it computes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lora_recipes.recipe.hub_id import is_hub_id, lies_here
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.near import did_you_mean
from lora_recipes.recipe.rule import Finding, rule
from lora_recipes.recipe.sections.base import Base


@rule(
    "base.model",
    "base.revision",
    "base.vae",
    "base.vae_revision",
    "base.tokenizer",
    "base.tokenizer_revision",
)
def hub_ids_need_a_revision(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """A Hugging Face id comes with a commit, because its content can change."""
    base = recipe.base
    for name, cause, model, revision in (
        ("base.revision", "base.model", base.model, base.revision),
        ("base.vae_revision", "base.vae", base.vae, base.vae_revision),
        ("base.tokenizer_revision", "base.tokenizer", base.tokenizer, base.tokenizer_revision),
    ):
        if is_hub_id(model, root) and revision == "none":
            yield Finding(
                name,
                "the 40 hex digits of a commit, where the files are on Hugging Face",
                f"copy the commit from https://huggingface.co/{model}/commits/main; "
                "a local folder has to exist",
                f" beside {model}",
                cause=cause,
            )


@rule("base.model", "base.vae", "base.tokenizer", moment="run")
def local_base_exists(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """A base model, VAE or tokenizer that is no Hugging Face id is there when a run needs it."""
    for key, own in (("model", "pocket"), ("vae", "base"), ("tokenizer", "base")):
        name = getattr(recipe.base, key)
        here = name == own or lies_here(name, root)
        if not here and not is_hub_id(name, root):
            yield Finding(
                f"base.{key}",
                "a Hugging Face id (owner/name), a folder or .safetensors file that exists, "
                f"or {own}",
                did_you_mean(name, [own], "correct the name or the path"),
            )


@rule("base.model", "base.revision")
def revision_of_another_model(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """`base.revision` is a commit of `base.model`: another model needs another one."""
    default, base = Base(), recipe.base
    another = is_hub_id(base.model, root) and base.model != default.model
    if another and base.revision == default.revision:
        yield Finding(
            "base.model",
            f"a base.revision of its own; {base.revision[:12]}… is a commit of {default.model}",
            f"copy the commit from https://huggingface.co/{base.model}/commits/main "
            "into base.revision",
        )


@rule("encode.vae_precision", "base.vae")
def fp16_needs_its_own_vae(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """SDXL's own VAE overflows in fp16; `encode.vae_precision: fp16` needs one made for it."""
    if recipe.encode.vae_precision == "fp16" and recipe.base.vae == "base":
        yield Finding(
            "encode.vae_precision",
            "fp32 with the base model's own VAE, which overflows in fp16",
            "write `vae_precision: fp32`, or set base.vae to madebyollin/sdxl-vae-fp16-fix",
            " beside base.vae = base",
        )


@rule("compute.precision", "compute.device")
def no_fp16_on_a_cpu(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """A CPU does not train in fp16."""
    if recipe.compute.precision == "fp16" and recipe.compute.device == "cpu":
        yield Finding(
            "compute.precision",
            "fp32 or bf16 on a CPU",
            "write `precision: fp32`",
            " beside compute.device = cpu",
        )
