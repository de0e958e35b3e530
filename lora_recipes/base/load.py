"""Loading the parts of a base model, each alone, frozen and in evaluation mode.

The caller drops a part when it is done with it; nothing here keeps one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from lora_recipes.base import components
from lora_recipes.base.components import TOKENS, Component, Located
from lora_recipes.base.fill import load_weights
from lora_recipes.base.folder import read_json
from lora_recipes.base.known import SCHEDULERS, understood
from lora_recipes.base.locate import locate
from lora_recipes.base.values import named
from lora_recipes.errors import UserError
from lora_recipes.hashing import counter
from lora_recipes.recipe.sections.base import Base


@dataclass(frozen=True)
class TextEncoders:
    """SDXL's two tokenizers and its two text encoders."""

    tokenizer: CLIPTokenizer
    tokenizer_2: CLIPTokenizer
    text_encoder: CLIPTextModel
    text_encoder_2: CLIPTextModelWithProjection


def load_unet(
    base: Base, root: Path, dtype: torch.dtype, device: torch.device
) -> UNet2DConditionModel:
    """The denoiser, every weight in `dtype`.

    Raises:
        UserError: as `locate`, or its weights do not fit its configuration.
    """
    located = locate(base, root)
    if located.kind == "random":
        return random_unet(0, dtype, device)
    return _load_part(UNet2DConditionModel, located, "unet", dtype, device)


def load_vae(base: Base, root: Path, dtype: torch.dtype, device: torch.device) -> AutoencoderKL:
    """The autoencoder: the model's own, or `base.vae`.

    Raises:
        UserError: as `load_unet`.
    """
    return _load_part(AutoencoderKL, locate(base, root), "vae", dtype, device)


def load_text_encoders(
    base: Base, root: Path, dtype: torch.dtype, device: torch.device
) -> TextEncoders:
    """Both text encoders with their tokenizers, checked to fit each other.

    Raises:
        UserError: as `load_unet`, or a tokenizer's vocabulary is not its encoder's.
    """
    located = locate(base, root)
    text_encoder = _load_part(CLIPTextModel, located, "text_encoder", dtype, device)
    text_encoder_2 = _load_part(
        CLIPTextModelWithProjection, located, "text_encoder_2", dtype, device
    )
    return TextEncoders(
        _load_tokenizer(located, "tokenizer", text_encoder.config.vocab_size),
        _load_tokenizer(located, "tokenizer_2", text_encoder_2.config.vocab_size),
        text_encoder,
        text_encoder_2,
    )


def load_scheduler(base: Base, root: Path) -> SchedulerMixin:
    """The noise schedule, of the class that the model names.

    Raises:
        UserError: as `locate`, or diffusers has no such scheduler for this noise.
    """
    path = locate(base, root).components["scheduler"].config / "scheduler_config.json"
    config = read_json(path)
    name = config.get("_class_name")
    kind: Any = getattr(diffusers, name, None) if name in SCHEDULERS else None
    if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin)):
        raise UserError.of(
            where=str(path),
            what=f"_class_name = {named(name)}: diffusers has no such scheduler",
            fix="fetch the file again, or choose another base.model",
        )
    try:
        scheduler: SchedulerMixin = kind.from_config(understood("scheduler", config))  # type: ignore[attr-defined]
    except Exception as error:  # whatever a library says of values that it cannot take together
        raise UserError.of(
            where=str(path),
            what=f"cannot be used as a {name}: {error}",
            fix="fetch the file again, or choose another base.model",
        ) from error
    return scheduler


def random_unet(seed: int, dtype: torch.dtype, device: torch.device) -> UNet2DConditionModel:
    """SDXL's UNet in its true size with random weights: for tests and benchmarks, no download.

    Weights are uniform with variance 1 / fan-in, norms are the identity and biases zero, so that
    activations stay finite in every precision. Drawn on the CPU: every device gets the same.
    """
    config = read_json(components.CONFIGS / "unet/config.json")
    with torch.device("meta"):
        model = UNet2DConditionModel.from_config(config)
    filled = {
        name: _random(name, tuple(value.shape), counter(seed, "random weights", index)).to(
            device, dtype
        )
        for index, (name, value) in enumerate(model.state_dict().items())
    }
    model.load_state_dict(filled, assign=True)
    return model.requires_grad_(False).eval()


def _random(name: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    if len(shape) == 1:
        return torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
    generator = torch.Generator().manual_seed(seed)
    bound = math.sqrt(3 / math.prod(shape[1:]))
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


def _load_part(
    kind: Any, located: Located, name: str, dtype: torch.dtype, device: torch.device
) -> Any:
    component = located.components.get(name)
    if component is None or not component.weights:
        raise UserError.of(
            what=f"base.model = {located.name}: has a UNet only, for benchmarks of training",
            fix="choose another base.model to encode pictures or to sample",
        )
    config = understood(name, read_json(component.config / "config.json"))

    def build() -> Any:
        if name.startswith("text_encoder"):
            return kind(CLIPTextConfig.from_dict(config))
        return kind.from_config(config)

    return load_weights(build, component, name, dtype, device)


def _load_tokenizer(located: Located, name: str, vocabulary: int) -> CLIPTokenizer:
    folder = located.components[name].config
    try:
        tokenizer = _read_tokenizer(located.components[name], name)
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise UserError.of(
            where=str(folder),
            what=f"cannot be read as a CLIP tokenizer: {error}",
            fix="fetch the tokenizer's files again",
        ) from error
    tokenizer.model_max_length = TOKENS
    if len(tokenizer) != vocabulary:
        raise UserError.of(
            where=str(folder),
            what=f"has {len(tokenizer):,} tokens; the text encoder knows {vocabulary:,}",
            fix="set base.tokenizer to the tokenizers that this model was trained with",
        )
    return tokenizer


def _read_tokenizer(component: Component, name: str) -> CLIPTokenizer:
    folder = component.config
    if (folder / "tokenizer_config.json").is_file():
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    config = read_json(components.CONFIGS / name / "tokenizer_config.json")
    special = {key: value for key, value in config.items() if key.endswith("_token")}
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        # By these two names only: vocab_file= and merges_file= are taken and ignored.
        return CLIPTokenizer(
            vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), **special
        )
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True, **special)
