"""Prompts and seeds to images, through diffusers' own SDXL pipeline, in three steps.

`embed` needs the text encoders, `denoise` the UNet and `decode` the VAE: whoever calls them one
after the other has one big model in memory at a time, and who has a UNet already passes it on.
Images are made one by one: a batch of 4 gives other bits than 4 times 1.

Shapes: B batch, here 1, C channels, H and W height and width of the latents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor, nn

from lora_recipes.base.components import TOKENS
from lora_recipes.base.load import TextEncoders, load_scheduler, load_text_encoders
from lora_recipes.diffusion import draws
from lora_recipes.encode.text import embed as embed_text
from lora_recipes.generate.base_config import latent_shape, zeros_for_empty_prompt
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.windows import tokens_read, windows
from lora_recipes.reporting import Reporter

EMBEDDED = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds",
)
"""The names of the pipeline's arguments, in the order in which `encode_prompt` returns them."""

Embeddings = dict[str, Tensor]
"""A prompt's and its negative prompt's, by the names of the pipeline's arguments, on the CPU."""


class NotFiniteError(ArithmeticError):
    """An image, or its latents, holds inf or nan. Who knows which image it is says so."""


@dataclass(frozen=True)
class Generation:
    """What all images of a run share."""

    base: Base
    root: Path
    """The project's folder, in which the base's paths start."""

    size: tuple[int, int]
    """Width and height in pixels."""

    steps: int
    """Of the sampler."""

    guidance: float
    """How strongly an image follows its prompt; at 1 or less nothing is told from a negative."""

    negative_prompt: str
    device: torch.device
    dtype: torch.dtype
    """The frozen UNet's; text encoders and VAE always compute in fp32."""

    max_tokens: int = TOKENS
    """How many tokens of a prompt are read: as many as of a caption in training."""


def embed(
    generation: Generation, prompts: Iterable[str], report: Reporter
) -> dict[str, Embeddings]:
    """Each prompt's embeddings and its negative's, by the pipeline's own `encode_prompt`, fp32.

    Several windows of tokens, which it does not know, are encoded as captions are. An empty
    negative prompt is SDXL's zeros where the base asks for that. The text encoders are loaded for
    it, and given up.
    """
    with report.loading(f"the text encoders of {generation.base.model}"):
        encoders = load_text_encoders(
            generation.base, generation.root, torch.float32, generation.device
        )
    read = tokens_read(generation.max_tokens)
    embedded = {}
    for prompt in sorted(set(prompts)):
        tokens = len(encoders.tokenizer(prompt).input_ids)
        if tokens > read:
            report.warn(f'a prompt has {tokens} tokens; SDXL reads the first {read}: "{prompt}"')
        with torch.no_grad():
            tensors = _both(generation, encoders, prompt)
        embedded[prompt] = {
            name: tensor.cpu()
            for name, tensor in zip(EMBEDDED, tensors, strict=True)
            if tensor is not None
        }
    return embedded


def _both(generation: Generation, encoders: TextEncoders, prompt: str) -> Sequence[Tensor | None]:
    """A prompt's embeddings and its negative's, in the order of `EMBEDDED`."""
    guided, negative = generation.guidance > 1, generation.negative_prompt
    if windows(generation.max_tokens) == 1:
        tensors: Sequence[Tensor | None] = _pipeline(generation, **vars(encoders)).encode_prompt(
            prompt,
            device=generation.device,
            do_classifier_free_guidance=guided,
            negative_prompt=negative or None,
        )
        return tensors
    tokens_LD, pooled_P = embed_text(encoders, prompt, generation.max_tokens)
    if not guided:
        return tokens_LD[None], None, pooled_P[None], None
    if not negative and zeros_for_empty_prompt(generation.base, generation.root):
        other_LD, other_P = torch.zeros_like(tokens_LD), torch.zeros_like(pooled_P)
    else:
        other_LD, other_P = embed_text(encoders, negative, generation.max_tokens)
    return tokens_LD[None], other_LD[None], pooled_P[None], other_P[None]


def denoise(
    generation: Generation,
    unet: nn.Module,
    embeddings: Embeddings,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> Tensor:
    """The finished latents [1, C, H, W] of one image, on the CPU, in the UNet's precision.

    Args:
        generation: how.
        unet: on the generation's device, in its dtype; with or without an adapter.
        embeddings: as `embed` gives them.
        seed: of the noise to start from, and of a sampler that adds some.
        advance: called after each step.

    Raises:
        NotFiniteError: they hold inf or nan.
    """

    def tick(_: Any, step: int, __: Any, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        if step < generation.steps:  # some samplers ask the UNet twice a step
            advance()
        return kept

    pipe = _pipeline(
        generation, unet=unet, scheduler=load_scheduler(generation.base, generation.root)
    )
    width, height = generation.size
    place = {"device": generation.device, "dtype": generation.dtype}
    noise_BCHW = initial_noise(
        latent_shape(generation.base, generation.root, generation.size), seed
    )
    latents_BCHW: Tensor = pipe(
        **{name: tensor.to(**place) for name, tensor in embeddings.items()},
        latents=noise_BCHW.to(**place),
        width=width,
        height=height,
        num_inference_steps=generation.steps,
        guidance_scale=generation.guidance,
        generator=draws.generator(seed, "sampler"),
        output_type="latent",
        return_dict=False,
        callback_on_step_end=tick,
    )[0].cpu()
    return _finite(latents_BCHW)


def initial_noise(shape_CHW: tuple[int, int, int], seed: int) -> Tensor:
    """Unit noise [1, C, H, W] fp32 on the CPU: the same for every prompt and adapter."""
    return draws.normal(shape_CHW, seed, "sample", [()])


def decode(vae: Any, latents_BCHW: Tensor) -> Image.Image:
    """The image of one set of latents, in fp32, as the pipeline's last lines do it.

    Raises:
        NotFiniteError: its pixels hold inf or nan.
    """
    scaled_BCHW = latents_BCHW.to(vae.device, torch.float32) / vae.config.scaling_factor
    with torch.no_grad():
        pixels_BCHW = vae.decode(scaled_BCHW, return_dict=False)[0]
    image: Image.Image = VaeImageProcessor().postprocess(_finite(pixels_BCHW), output_type="pil")[0]
    return image


def _pipeline(generation: Generation, **components: Any) -> StableDiffusionXLPipeline:
    """The SDXL pipeline with only the components that are in memory just now."""
    nothing = dict.fromkeys(
        ("vae", "unet", "scheduler", "tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")
    )
    pipe = StableDiffusionXLPipeline(
        **(nothing | components),
        force_zeros_for_empty_prompt=zeros_for_empty_prompt(generation.base, generation.root),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _finite(tensor: Tensor) -> Tensor:
    if not torch.isfinite(tensor).all():
        raise NotFiniteError
    return tensor
