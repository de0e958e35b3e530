"""Gradient checkpointing: what is recomputed in the backward pass instead of stored.

Chen et al. 2016, arXiv:1604.06174. diffusers does it block by block, which stores almost nothing
and computes everything twice. The feed-forward layers alone hold two fifths of SDXL's activations
(their inner width is eight times that of the tokens); recomputing them is an eighth of a step.
"""

from __future__ import annotations

from typing import Any

from diffusers.models.attention import FeedForward
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lora_recipes.recipe.sections.compute import Checkpointing
from lora_recipes.reporting import Reporter
from lora_recipes.train.fast import known
from lora_recipes.train.fast.step_aside import reclass


class RecomputedFeedForward(FeedForward):
    """diffusers' feed-forward layer, of which only the input is stored."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The same numbers to the bit. Nothing here draws, so no random state is stored either."""
        found: Tensor = checkpoint(
            super().forward,
            hidden_states,
            *args,
            use_reentrant=False,
            preserve_rng_state=False,
            **kwargs,
        )
        return found


def enable_recompute(unet: nn.Module, chosen: Checkpointing, report: Reporter) -> None:
    """Trade time for memory in a UNet of diffusers, as the recipe says.

    Args:
        unet: with or without an adapter. Its weights and names stay the same.
        chosen: `compute.gradient_checkpointing`: False, nothing; True, every block;
            `feed_forward`, the feed-forward layers of the transformers.
        report: is told if these cannot be recomputed, since diffusers' source is not known.
    """
    if chosen is True:
        unet.enable_gradient_checkpointing()
    elif chosen == "feed_forward":
        reclass(unet, RecomputedFeedForward, _is_plain, (known.FEED_FORWARD,), report)


def _is_plain(layer: FeedForward) -> bool:
    """Whether nothing in it draws: recomputed, it would drop other units than before."""
    return all(module.p == 0 for module in layer.modules() if isinstance(module, nn.Dropout))
