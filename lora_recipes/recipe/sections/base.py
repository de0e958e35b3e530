"""The base model that the adapter is trained on."""

from __future__ import annotations

from typing import Annotated

from lora_recipes.recipe.sections.kinds import Name, Revision, Short
from lora_recipes.recipe.sections.section import BelongsTo, Off, Section


class Base(Section):
    """The frozen model under the adapter: which files, at which commit."""

    model: Annotated[Name, Short("a Hugging Face id, a folder, a .safetensors file, or pocket")] = (
        "stabilityai/stable-diffusion-xl-base-1.0"
    )
    """The SDXL model to train on.

    A Hugging Face id (with `base.revision`), a local diffusers folder, a single `.safetensors`
    checkpoint, or `pocket`, the small SDXL that ships with this package. Never a pickle.
    With: an adapter fits the base that it was trained on best; finetunes of SDXL share its names.
    Source: Podell et al. 2023, arXiv:2307.01952.
    """

    revision: Annotated[Revision, Short("the commit, for a Hugging Face id")] = (
        "462165984030d82259a11f4367a4eed129e94a7b"
    )
    """The commit of the Hugging Face repository, 40 hex digits, so that it never changes under you.

    With: required where `base.model` is a Hugging Face id; not used for local files, whose own
    hashes are recorded.
    Source: huggingface.co, "Files and versions" of the model.
    """

    vae: Annotated[Name, Off("base"), Short("another VAE, or base")] = "base"
    """The autoencoder: `base` for the model's own, or a Hugging Face id, a folder or a file.

    With: `encode.vae_precision: fp16` needs a VAE that was made for it, such as
    madebyollin/sdxl-vae-fp16-fix; SDXL's own overflows in fp16.
    Source: madebyollin/sdxl-vae-fp16-fix, model card.
    """

    vae_revision: Annotated[
        Revision,
        Off("none"),
        BelongsTo("base.vae", but=("base",), fix="name a Hugging Face id in base.vae"),
    ] = "none"
    """The commit of the VAE's repository, 40 hex digits, or `none`.

    With: required where `base.vae` is a Hugging Face id.
    Source: this project; a name without a commit can change its content.
    """

    tokenizer: Annotated[Name, Off("base"), Short("another tokenizer, or base")] = "base"
    """The two CLIP tokenizers: `base` for the model's own, or a Hugging Face id or a folder.

    With: a single-file `base.model` holds no tokenizers; `base` then means SDXL's, from Hugging
    Face.
    Source: diffusers, loaders/single_file.
    """

    tokenizer_revision: Annotated[
        Revision,
        Off("none"),
        BelongsTo("base.tokenizer", but=("base",), fix="name a Hugging Face id in base.tokenizer"),
    ] = "none"
    """The commit of the tokenizers' repository, 40 hex digits, or `none`.

    With: required where `base.tokenizer` is a Hugging Face id.
    Source: this project; a name without a commit can change its content.
    """
