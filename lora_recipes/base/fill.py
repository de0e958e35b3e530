"""Putting a file's weights into a model, all of them and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from accelerate import init_empty_weights
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lora_recipes.base import single_file
from lora_recipes.base.components import Component
from lora_recipes.base.fit import OLD_VAE_NAMES, misfits, no_floats
from lora_recipes.base.folder import read_json
from lora_recipes.errors import UserError


def load_weights(
    build: Callable[[], nn.Module],
    component: Component,
    name: str,
    dtype: torch.dtype,
    device: torch.device,
) -> nn.Module:
    """Build one part of the model and fill it from its files; frozen, in evaluation mode.

    Memory: the part once, in `dtype`; files are mapped and read tensor by tensor.

    Args:
        build: makes the empty model; called where new parameters take no memory.
        name: the part, `unet`, `vae`, `text_encoder` or `text_encoder_2`.

    Raises:
        UserError: weights are missing, unexpected, of another shape or no floating-point numbers,
            or the configuration cannot be built.
    """
    try:
        with init_empty_weights(include_buffers=False):
            model = build()
    except Exception as error:  # whatever a library says of a configuration that it cannot build
        raise UserError.of(
            where=str(component.config / "config.json"),
            what=f"cannot be built as the {name} of SDXL: {error}",
            fix="fetch the file again, or choose another base.model",
        ) from error
    found = read_weights(component.weights, "base.model", _prefixes(component, name))
    if component.layout == "original":
        found = _converted(found, name, model, component)
    found = {_renamed(key, name, model): tensor for key, tensor in found.items()}
    found = {key: tensor for key, tensor in found.items() if not key.endswith("position_ids")}
    _check(model, found, component.weights[0], name)
    # Copied: mapped tensors lie as their file has them, and products of unaligned memory differ in
    # the last bit, so that the same weights in another file would give other numbers.
    filled = {key: found.pop(key).to(device, dtype, copy=True) for key in list(found)}
    model.load_state_dict(filled, assign=True)
    return model.to(device).requires_grad_(False).eval()


def _prefixes(component: Component, name: str) -> tuple[str, ...]:
    """What the names of a part's weights start with, in its file."""
    whole = component.layout == "original" and name != "vae"
    return (single_file.PREFIXES[name],) if whole else ("",)


def read_weights(
    files: Iterable[Path], chosen_by: str, prefixes: tuple[str, ...] = ("",)
) -> dict[str, Tensor]:
    """The tensors of safetensors files whose names begin so, on the CPU.

    Args:
        files: the shards of one model.
        chosen_by: the key or option that names the model, for a message.
        prefixes: of the tensors that are wanted; by default all.

    Raises:
        UserError: a file is missing or damaged.
    """
    found: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                keys = [key for key in file.keys() if key.startswith(prefixes)]  # noqa: SIM118
                found |= {key: file.get_tensor(key) for key in keys}
        except (SafetensorError, OSError) as error:
            raise UserError.of(
                where=str(path),
                what=f"cannot be read as safetensors: {error}",
                fix=f"fetch the model again, or choose another {chosen_by}",
            ) from error
    return found


def _converted(
    found: dict[str, Tensor], name: str, model: nn.Module, component: Component
) -> dict[str, Tensor]:
    """From the names of Stability's checkpoints to those of diffusers and transformers."""
    if name == "text_encoder":
        start = len(single_file.TEXT)
        return {key[start:]: tensor for key, tensor in found.items()}
    if name == "text_encoder_2":
        converted: dict[str, Tensor] = convert_open_clip_checkpoint(
            model, found, prefix=single_file.TEXT_2
        )
        return converted
    config = read_json(component.config / "config.json")
    if name == "vae":
        if any(key.startswith(single_file.VAE) for key in found):
            found = {key: value for key, value in found.items() if key.startswith(single_file.VAE)}
        converted = convert_ldm_vae_checkpoint(found, config)
    else:
        converted = convert_ldm_unet_checkpoint(found, config)
    # The conversion drops names that it does not know; they must not be dropped in silence.
    used = {tensor.data_ptr() for tensor in converted.values()}
    return converted | {key: value for key, value in found.items() if value.data_ptr() not in used}


def _renamed(key: str, name: str, model: nn.Module) -> str:
    """Today's name of a weight that an older library wrote."""
    if name == "vae":
        for old, new in OLD_VAE_NAMES.items():
            key = key.replace(old, new)
    elif name != "unet":
        inner = key.removeprefix("text_model.")
        wrapped = hasattr(model, "text_model") and not inner.startswith("text_projection.")
        key = f"text_model.{inner}" if wrapped else inner
    return key


def _check(model: nn.Module, found: Mapping[str, Tensor], path: Path, name: str) -> None:
    wanted = {key: (tuple(tensor.shape),) for key, tensor in model.state_dict().items()}
    problems = [
        *misfits(path, name, wanted, {key: tuple(tensor.shape) for key, tensor in found.items()}),
        *no_floats(path, name, {key: _kind(tensor.dtype) for key, tensor in found.items()}),
    ]
    if problems:
        raise UserError(problems)


def _kind(dtype: torch.dtype) -> str:
    kinds = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}
    return kinds.get(dtype, "F64" if dtype == torch.float64 else str(dtype).removeprefix("torch."))
