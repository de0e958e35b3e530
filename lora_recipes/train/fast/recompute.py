"""Gradient checkpointing: what is computed again on the way back instead of being kept.

Chen et al. 2016, arXiv:1604.06174. diffusers does it block by block, which leaves almost nothing
and computes everything twice. The feed-forward layers alone hold two fifths of SDXL's activations
(their inner width is eight times that of the tokens); computing them again is an eighth of a step.
"""

from __future__ import annotations

from typing import Any

from diffusers.models.attention import FeedForward
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lora_recipes.recipe.sections.compute import Checkpointing


class CheckpointedFeedForward(FeedForward):
    """diffusers' feed-forward layer, of which only the input is kept."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The same numbers to the bit. Nothing here draws, so no random state is kept either."""
        found: Tensor = checkpoint(
            super().forward,
            hidden_states,
            *args,
            use_reentrant=False,
            preserve_rng_state=False,
            **kwargs,
        )
        return found


def enable_checkpointing(unet: nn.Module, chosen: Checkpointing) -> None:
    """Trade time for memory in a UNet of diffusers, as the recipe says.

    Args:
        unet: with or without an adapter. Its weights and names stay the same.
        chosen: `compute.gradient_checkpointing`: False, nothing; True, every block;
            `feed_forward`, the feed-forward layers of the transformers.
    """
    if chosen is True:
        unet.enable_gradient_checkpointing()
    elif chosen == "feed_forward":
        for module in unet.modules():
            if type(module) is FeedForward:
                module.__class__ = CheckpointedFeedForward
