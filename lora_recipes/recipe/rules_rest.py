"""The rules of data, base model, pictures and devices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lora_recipes.recipe.hub_id import is_hub_id, lies_here
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.near import did_you_mean
from lora_recipes.recipe.rule import Finding, rule
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.words import PLACEHOLDERS, placeholders


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
def what_lies_here_exists(recipe: Recipe, root: Path) -> Iterator[Finding]:
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


@rule("base.vae", "base.vae_revision", "base.tokenizer", "base.tokenizer_revision")
def revision_of_nothing(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """A revision of a VAE or tokenizer that is the base model's own would be ignored."""
    base = recipe.base
    for name, model, revision in (
        ("vae", base.vae, base.vae_revision),
        ("tokenizer", base.tokenizer, base.tokenizer_revision),
    ):
        if model == "base" and revision != "none":
            yield Finding(
                f"base.{name}_revision",
                f"none while base.{name} is the base model's own",
                f"remove the line, or name a Hugging Face id in base.{name}",
                f" beside base.{name} = base",
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


@rule("dataset.template")
def template_uses_known_words(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """In `dataset.template`, braces hold `trigger` or `class_word`. That these are given is asked
    for only if an image has no caption of its own."""
    yield from _odd_braces("dataset.template", recipe.dataset.template, None)


@rule("sample.prompts")
def prompts_use_known_words(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """In `sample.prompts`, braces hold `trigger` or `class_word`."""
    for position, prompt in enumerate(recipe.sample.prompts):
        yield from _odd_braces("sample.prompts", prompt, position)


@rule("sample.prompts", "dataset.trigger", moment="run")
def prompts_need_their_trigger(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """A prompt with `{trigger}` needs `dataset.trigger`. A recipe may leave it to its user; a run
    may not. A class word may be missing: its place stays empty."""
    prompts = [text for text in recipe.sample.prompts if "trigger" in placeholders(text)]
    if prompts and recipe.dataset.trigger == "none":
        yield Finding(
            "dataset.trigger",
            "the word for your subject, where sample.prompts hold {trigger}",
            "write, for example, `trigger: zwk` under dataset: in params.yaml, or give prompts "
            "without {trigger} under sample: there",
            f" beside sample.prompts with {{trigger}}, such as `{prompts[0]}`",
        )


@rule("dataset.heldout", "dataset.others")
def heldout_and_others_differ(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """Held-out pictures and pictures of other things lie in two folders."""
    folder = recipe.dataset.others
    if folder != "none" and folder == recipe.dataset.heldout:
        yield Finding(
            "dataset.others",
            "another folder than dataset.heldout",
            "put pictures of other things into a folder of their own, or write none",
            f" beside dataset.heldout = {folder}",
        )


@rule("prepare.seed", "prepare.crop")
def seed_of_no_crop(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """`prepare.seed` belongs to `prepare.crop: random`; other crops would ignore it."""
    if recipe.prepare.seed != 0 and recipe.prepare.crop != "random":
        yield Finding(
            "prepare.seed",
            "0 with any crop but random",
            "write `crop: random`, or remove prepare.seed",
            f" beside prepare.crop = {recipe.prepare.crop}",
        )


@rule("sample.negative_prompt", "sample.guidance")
def negative_prompt_needs_guidance(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """`sample.negative_prompt` has an effect with `sample.guidance` above 1 only."""
    if recipe.sample.negative_prompt and recipe.sample.guidance <= 1:
        yield Finding(
            "sample.negative_prompt",
            "empty with sample.guidance 1",
            "raise sample.guidance, or remove the negative prompt",
            " beside sample.guidance = 1",
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


def _odd_braces(key: str, text: str, position: int | None) -> Iterator[Finding]:
    odd = [name for name in placeholders(text) if name not in PLACEHOLDERS]
    if odd:
        names = ", ".join(f"{{{name}}}" for name in odd)
        yield Finding(
            key,
            "{trigger} and {class_word}",
            did_you_mean(odd[0], PLACEHOLDERS, f"take out {names}"),
            position=position,
        )
