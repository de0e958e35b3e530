"""Pictures through diffusers' own SDXL pipeline, one big model in memory at a time.

Text encoders first, then the UNet with each adapter in turn, then the VAE. Pictures are drawn
one by one: a batch of 4 gives other bits than 4 times 1.

Shapes: B batch, C channels, H and W height and width of the latents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor

from lora_recipes.adapter.inject import enabled, inject, load_tensors, set_strength
from lora_recipes.base.compute import free_memory
from lora_recipes.base.load import load_scheduler, load_text_encoders, load_unet, load_vae
from lora_recipes.diffusion import draws
from lora_recipes.errors import Problem, UserError
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.sample import Sample
from lora_recipes.reporting import Reporter
from lora_recipes.sample.model_facts import zeros_for_empty_prompt
from lora_recipes.sample.plan import BASE, Picture
from lora_recipes.tensors import read_tensors

Embeddings = dict[str, Tensor]
LONGEST_PROMPT = 77
"""Tokens, with the two that mark start and end. Source: CLIP, arXiv:2103.00020, section 2.4."""


@dataclass(frozen=True)
class Studio:
    """What all pictures of a run share."""

    base: Base
    root: Path
    """The project's folder, in which the base's paths start."""

    sample: Sample
    size: tuple[int, int]
    """Width and height in pixels."""

    device: torch.device
    dtype: torch.dtype
    """The frozen UNet's; text encoders and VAE always compute in fp32."""

    lora: Lora
    """Rank, alpha and targets of all adapters."""

    adapters: Mapping[str, Path]
    """Each adapter's file, by its name in `Picture.adapter`."""


def draw(
    pictures: Sequence[Picture], studio: Studio, report: Reporter
) -> Iterator[tuple[Picture, Image.Image]]:
    """Draw each picture; yields them in order, after all latents are known to be finite.

    Raises:
        UserError: an adapter does not fit the base, or a picture is not finite.
    """
    embedded = embed({picture.prompt for picture in pictures}, studio, report)
    free_memory()
    vae = load_vae(studio.base, studio.root, torch.float32, torch.device("cpu"))
    latents = _all_latents(pictures, embedded, _shape(vae, studio), studio, report)
    free_memory()
    vae.to(studio.device)
    for picture in pictures:
        yield picture, decode(vae, latents[picture], picture)


def embed(prompts: set[str], studio: Studio, report: Reporter) -> dict[str, Embeddings]:
    """Each prompt's embeddings and its negative's, by the pipeline's own `encode_prompt`, fp32.

    An empty negative prompt is SDXL's zeros where the base asks for that.
    """
    encoders = load_text_encoders(studio.base, studio.root, torch.float32, studio.device)
    pipe = pipeline(
        studio,
        tokenizer=encoders.tokenizer,
        tokenizer_2=encoders.tokenizer_2,
        text_encoder=encoders.text_encoder,
        text_encoder_2=encoders.text_encoder_2,
    )
    names = ["prompt_embeds", "negative_prompt_embeds"]
    names += [f"{sign}pooled_prompt_embeds" for sign in ("", "negative_")]
    embedded = {}
    for prompt in sorted(prompts):
        tokens = len(encoders.tokenizer(prompt).input_ids)
        if tokens > LONGEST_PROMPT:
            report.warn(
                f'a prompt has {tokens} tokens; SDXL reads the first {LONGEST_PROMPT}: "{prompt}"'
            )
        with torch.no_grad():
            tensors = pipe.encode_prompt(
                prompt,
                device=studio.device,
                do_classifier_free_guidance=studio.sample.guidance > 1,
                negative_prompt=studio.sample.negative_prompt or None,
            )
        embedded[prompt] = {
            name: tensor.cpu()
            for name, tensor in zip(names, tensors, strict=True)
            if tensor is not None
        }
    return embedded


def pipeline(studio: Studio, **components: Any) -> StableDiffusionXLPipeline:
    """The SDXL pipeline with only the components that are in memory just now."""
    nothing = dict.fromkeys(
        ("vae", "unet", "scheduler", "tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")
    )
    pipe = StableDiffusionXLPipeline(
        **(nothing | components),
        force_zeros_for_empty_prompt=zeros_for_empty_prompt(studio.base, studio.root),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def initial_noise(shape_CHW: tuple[int, int, int], seed: int) -> Tensor:
    """Unit noise [1, C, H, W] fp32 on the CPU: the same for every prompt and adapter."""
    return draws.normal(shape_CHW, seed, "sample", [()])


def decode(vae: Any, latents_BCHW: Tensor, picture: Picture) -> Image.Image:
    """One picture of one set of latents, in fp32, as the pipeline's last lines do it.

    Raises:
        UserError: the pixels are not finite.
    """
    scaled_BCHW = latents_BCHW.to(vae.device, torch.float32) / vae.config.scaling_factor
    with torch.no_grad():
        pixels_BCHW = vae.decode(scaled_BCHW, return_dict=False)[0]
    _check_finite(pixels_BCHW, picture)
    image: Image.Image = VaeImageProcessor().postprocess(pixels_BCHW, output_type="pil")[0]
    return image


def _all_latents(
    pictures: Sequence[Picture],
    embedded: Mapping[str, Embeddings],
    shape_CHW: tuple[int, int, int],
    studio: Studio,
    report: Reporter,
) -> dict[Picture, Tensor]:
    """The finished latents of every picture, adapter by adapter, so that each loads once."""
    unet = load_unet(studio.base, studio.root, studio.dtype, studio.device)
    inject(unet, studio.lora, seed=0)
    pipe = pipeline(studio, unet=unet, scheduler=load_scheduler(studio.base, studio.root))
    latents: dict[Picture, Tensor] = {}
    with report.bar("draw pictures", len(pictures) * studio.sample.steps) as bar:
        names = {picture.adapter for picture in pictures}
        for adapter in sorted(names, key=lambda name: (name != BASE, name)):  # the base first
            if adapter != BASE:
                switch_to(unet, studio.adapters[adapter], studio.sample.strength)
            for picture in (one for one in pictures if one.adapter == adapter):
                advance = partial(bar.advance, picture=f"{len(latents) + 1}/{len(pictures)}")
                with enabled(unet, adapter != BASE):
                    latents[picture] = _denoise(
                        pipe, picture, embedded[picture.prompt], studio,
                        noise_BCHW=initial_noise(shape_CHW, picture.seed), advance=advance,
                    )  # fmt: skip
    return latents


def switch_to(unet: Any, path: Path, strength: float) -> None:
    """Load an adapter's file into the UNet's LoRA layers, in place of the one before.

    Raises:
        UserError: the file's tensors are not exactly those that the layers have room for.
    """
    set_strength(unet, 1.0)
    try:
        load_tensors(unet, read_tensors(path))
    except UserError as error:
        named = [replace(problem, where=problem.where or str(path)) for problem in error.problems]
        raise UserError(named) from error
    set_strength(unet, strength)


def _denoise(
    pipe: StableDiffusionXLPipeline,
    picture: Picture,
    embeddings: Embeddings,
    studio: Studio,
    *,
    noise_BCHW: Tensor,
    advance: Callable[[], None],
) -> Tensor:
    """One picture's latents [1, C, H, W] on the CPU, in the UNet's precision.

    Raises:
        UserError: they are not finite.
    """

    def tick(_: Any, step: int, __: Any, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        if step < studio.sample.steps:  # some samplers ask the UNet twice a step
            advance()
        return kept

    width, height = studio.size
    place = {"device": studio.device, "dtype": studio.dtype}
    latents_BCHW: Tensor = pipe(
        **{name: tensor.to(**place) for name, tensor in embeddings.items()},
        latents=noise_BCHW.to(**place),
        width=width,
        height=height,
        num_inference_steps=studio.sample.steps,
        guidance_scale=studio.sample.guidance,
        generator=draws.generator(picture.seed, "sampler"),
        output_type="latent",
        return_dict=False,
        callback_on_step_end=tick,
    )[0].cpu()
    _check_finite(latents_BCHW, picture)
    return latents_BCHW


def _check_finite(tensor: Tensor, picture: Picture) -> None:
    if torch.isfinite(tensor).all():
        return
    alone = picture.adapter == BASE
    raise UserError(
        Problem(
            what=f'picture {picture.file} ("{picture.prompt}") holds values that are not finite',
            fix="check the base model's files, or set compute.precision: fp32"
            if alone
            else "lower sample.strength, or train with a lower train.learning_rate",
        )
    )


def _shape(vae: Any, studio: Studio) -> tuple[int, int, int]:
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    width, height = studio.size
    return vae.config.latent_channels, height // factor, width // factor
