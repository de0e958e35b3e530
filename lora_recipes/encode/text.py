"""Captions to the embeddings that SDXL's UNet reads.

W: windows, L: tokens (77, or 75 · W + 2), D: width of both text encoders together, P: width of the
second.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from lora_recipes.base.components import TOKENS
from lora_recipes.base.load import TextEncoders
from lora_recipes.encode.reuse import Encoded
from lora_recipes.errors import UserError
from lora_recipes.recipe.windows import WINDOW, tokens_read, windows


@torch.no_grad()
def embed(encoders: TextEncoders, caption: str, max_tokens: int = TOKENS) -> tuple[Tensor, Tensor]:
    """What StableDiffusionXLPipeline.encode_prompt gives for a prompt, to the bit.

    The last layer but one of both encoders, side by side, and the second's pooled output. An
    empty caption is encoded as such; only an absent negative prompt is zeros in SDXL.

    A longer text goes through both encoders window by window. Of the windows' tokens, the start is
    the first one's and the end the last one's; the pooled output is the first one's.

    Args:
        encoders: of the base model.
        caption: any text.
        max_tokens: `encode.max_tokens`.

    Returns:
        tokens [L, D] and pooled [P], float32 on the CPU.

    Source: Podell et al. 2023, arXiv:2307.01952, section 2.1; for several windows
    kohya-ss/sd-scripts, library/strategy_sdxl.py.
    """
    number = windows(max_tokens)
    both = zip(
        _ids(encoders.tokenizer, caption, number),
        _ids(encoders.tokenizer_2, caption, number),
        strict=True,
    )
    found = [_window(encoders, *ids) for ids in both]
    pooled_P = found[0][1]
    if number == 1:
        return found[0][0], pooled_P
    inner = [tokens_LD[1:-1] for tokens_LD, _ in found]
    return torch.concat([found[0][0][:1], *inner, found[-1][0][-1:]]), pooled_P


def _window(encoders: TextEncoders, ids_L: Tensor, ids_2_L: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens [77, D] and the pooled output [P] of one window."""
    first = encoders.text_encoder(
        ids_L[None].to(encoders.text_encoder.device), output_hidden_states=True
    )
    second = encoders.text_encoder_2(
        ids_2_L[None].to(encoders.text_encoder_2.device), output_hidden_states=True
    )
    tokens_1LD = torch.concat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
    return tokens_1LD[0].float().cpu(), second.text_embeds[0].float().cpu()


def count(tokenizer: CLIPTokenizer, caption: str, max_tokens: int = TOKENS) -> tuple[int, str]:
    """How many tokens a caption has, start and end included, and the words that are not read."""
    found = tokenizer(caption, return_offsets_mapping=True, truncation=False, verbose=False)
    number, most = len(found.input_ids), tokens_read(max_tokens)
    if number <= most:
        return number, ""
    # The last place goes to the end token.
    return number, caption[found.offset_mapping[most - 1][0] :]


def encode_caption(
    encoders: TextEncoders, caption: str, name: str, max_tokens: int = TOKENS
) -> Encoded:
    """One caption's embeddings; `name` is a picture that has it.

    Raises:
        UserError: a text encoder gave NaN or infinity.
    """
    tokens_LD, pooled_P = embed(encoders, caption, max_tokens)
    if not (tokens_LD.isfinite().all() and pooled_P.isfinite().all()):
        raise UserError.of(
            where=name,
            what="the text encoders give NaN or infinity for its caption",
            fix="their weights are damaged; fetch base.model again",
        )
    tokenizers = (encoders.tokenizer, encoders.tokenizer_2)
    number, cut = max(count(tokenizer, caption, max_tokens) for tokenizer in tokenizers)
    notes = {"tokens": str(number), "cut": cut}
    return Encoded({"tokens": tokens_LD, "pooled": pooled_P}, notes)


def _ids(tokenizer: CLIPTokenizer, caption: str, number: int) -> Tensor:
    """[W, 77] int64: cut or filled up to so many windows, each with a start and an end.

    A window that is full ends in the end token, and one without a word of the caption begins with
    it, so that no window goes without. Which is which, the length tells: kohya asks the tokens, and
    takes an exclamation mark, which SDXL's second tokenizer fills up with, for filling.
    """
    found = tokenizer(
        caption,
        padding="max_length",
        max_length=number * WINDOW + 2,
        truncation=True,
        return_tensors="pt",
    )
    ids_1L: Tensor = found.input_ids
    if number == 1:
        return ids_1L
    words = int(found.attention_mask.sum()) - 2
    start, end = ids_1L[0, 0], tokenizer.eos_token_id
    ids_WL = torch.full((number, TOKENS), int(ids_1L[0, -1]))
    ids_WL[:, 0] = start
    ids_WL[:, 1:-1] = ids_1L[0, 1:-1].reshape(number, WINDOW)
    for window in range(number):
        if words >= (window + 1) * WINDOW:
            ids_WL[window, -1] = end
        if words < window * WINDOW:
            ids_WL[window, 1] = end
    return ids_WL
