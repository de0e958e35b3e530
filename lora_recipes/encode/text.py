"""Captions to the embeddings that SDXL's UNet reads.

L: tokens (77), D: width of both text encoders together, P: width of the second.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from lora_recipes.base.components import TOKENS
from lora_recipes.base.load import TextEncoders
from lora_recipes.encode.reuse import Encoded
from lora_recipes.errors import UserError


@torch.no_grad()
def embed(encoders: TextEncoders, caption: str) -> tuple[Tensor, Tensor]:
    """What StableDiffusionXLPipeline.encode_prompt gives for a prompt, to the bit.

    The last layer but one of both encoders, side by side, and the second's pooled output. An
    empty caption is encoded as such; only an absent negative prompt is zeros in SDXL.

    Returns:
        tokens [77, D] and pooled [P], float32 on the CPU.

    Source: Podell et al. 2023, arXiv:2307.01952, section 2.1.
    """
    first = encoders.text_encoder(
        _ids(encoders.tokenizer, caption).to(encoders.text_encoder.device),
        output_hidden_states=True,
    )
    second = encoders.text_encoder_2(
        _ids(encoders.tokenizer_2, caption).to(encoders.text_encoder_2.device),
        output_hidden_states=True,
    )
    tokens_1LD = torch.concat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
    return tokens_1LD[0].float().cpu(), second.text_embeds[0].float().cpu()


def count(tokenizer: CLIPTokenizer, caption: str) -> tuple[int, str]:
    """How many tokens a caption has, start and end included, and the words beyond the window."""
    found = tokenizer(caption, return_offsets_mapping=True, truncation=False, verbose=False)
    number = len(found.input_ids)
    if number <= TOKENS:
        return number, ""
    # The window's last place goes to the end token.
    return number, caption[found.offset_mapping[TOKENS - 1][0] :]


def encode_caption(encoders: TextEncoders, caption: str, name: str) -> Encoded:
    """One caption's embeddings; `name` is a picture that has it.

    Raises:
        UserError: a text encoder gave NaN or infinity.
    """
    tokens_LD, pooled_P = embed(encoders, caption)
    if not (tokens_LD.isfinite().all() and pooled_P.isfinite().all()):
        raise UserError.of(
            where=name,
            what="the text encoders give NaN or infinity for its caption",
            fix="their weights are damaged; fetch base.model again",
        )
    number, cut = max(count(encoders.tokenizer, caption), count(encoders.tokenizer_2, caption))
    notes = {"tokens": str(number), "cut": cut}
    return Encoded({"tokens": tokens_LD, "pooled": pooled_P}, notes)


def _ids(tokenizer: CLIPTokenizer, caption: str) -> Tensor:
    """[1, 77] int64: cut or filled up to CLIP's window."""
    found = tokenizer(
        caption,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    ids: Tensor = found.input_ids
    return ids
