"""The seven parts of an SDXL model, and the files that each is made of. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

WEIGHT_STEMS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
"""Parts with weights, and how diffusers calls their files."""

TOKENIZERS = ("tokenizer", "tokenizer_2")

CONFIGS = Path(__file__).parent / "configs"
"""SDXL base 1.0's own configuration, for checkpoints that bring none."""

CONFIG_NAMES = (
    "config.json",
    "scheduler_config.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)

TOKENS = 77
"""The length of CLIP's text window, its start and end token included.

Source: Radford et al. 2021, arXiv:2103.00020, section 2.4.
"""


@dataclass(frozen=True)
class Component:
    """One part: a folder with its configuration, and its weights if it has any."""

    config: Path
    weights: tuple[Path, ...] = ()
    layout: Literal["diffusers", "original"] = "diffusers"
    """How the tensors are named: as diffusers does, or as in Stability's own checkpoints."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that what is loaded depends on."""
        found = (self.config / name for name in CONFIG_NAMES)
        return (*(path for path in found if path.is_file()), *self.weights)


@dataclass(frozen=True)
class Located:
    """A base model whose files are all there."""

    kind: Literal["hub", "folder", "file", "pocket", "random"]
    name: str
    """`base.model` as the recipe says it, with the revision for a Hugging Face id."""

    components: Mapping[str, Component]
