"""Telling from its header alone whether a `.safetensors` file is an SDXL checkpoint. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_recipes.base import components
from lora_recipes.base.components import Component
from lora_recipes.base.folder import read_json
from lora_recipes.base.values import named
from lora_recipes.errors import UserError, Wording
from lora_recipes.tensors import Entry, read_header

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "conditioner.embedders.0.transformer.text_model."
TEXT_2 = "conditioner.embedders.1.model."
PREFIXES = {"unet": UNET, "vae": VAE, "text_encoder": TEXT, "text_encoder_2": TEXT_2}
"""Where Stability's own checkpoints keep each part."""

CONV_IN = f"{UNET}input_blocks.0.0.weight"
CROSS_ATTENTION = f"{UNET}output_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
ADDED = f"{UNET}label_emb.0.0.weight"

MARKS: dict[str, Wording] = {
    "v_pred": "a v-prediction SDXL",
    "ztsnr": "an SDXL with zero terminal SNR",
    "edm_vpred": "an SDXL trained as EDM with v-prediction (CosXL)",
    "edm_": "an SDXL trained as EDM (Playground)",
}
"""Beginnings of tensors' names by which ComfyUI and others tell how a checkpoint was trained."""

LARGEST_MARK = 64
"""Numbers in a tensor that is only there to be seen: most have one or none."""

NO_MARKS = (
    "model.", "model_ema.", "first_stage_model.", "conditioner.", "cond_stage_model.",
    "denoiser.", "loss_fn.", "sampler.", "control_model.", "embedding_manager.",
)  # fmt: skip
"""Where a checkpoint keeps its parts, and what trainers leave beside them."""

Shape = tuple[int, ...]


def locate_checkpoint(path: Path, *, own_vae: bool) -> dict[str, Component]:
    """The four parts with weights of one checkpoint; `own_vae` is false where another is used.

    Raises:
        UserError: the file is cut off, foreign, not a text-to-image SDXL, or lacks a part.
    """
    header = read_header(path)
    problem = _what_else(header.entries)
    if problem:
        raise UserError.of(
            where=str(path),
            what=problem,
            fix="set base.model to a text-to-image SDXL checkpoint",
        )
    wanted = [name for name in PREFIXES if name != "vae" or own_vae]
    lacking = [name for name in wanted if not _holds(header.entries, name)]
    if lacking:
        raise UserError.of(
            where=str(path),
            what=f"is an SDXL checkpoint without its {', '.join(lacking)}",
            fix="choose a complete checkpoint"
            + (", or name a VAE in base.vae" if lacking == ["vae"] else ""),
        )
    return {
        name: Component(components.CONFIGS / name, (path,), layout="original") for name in wanted
    }


def locate_vae(path: Path) -> Component:
    """A VAE in a file of its own, or the one inside of a checkpoint.

    Raises:
        UserError: the file is cut off, foreign, or holds no SDXL VAE.
    """
    entries = read_header(path).entries
    for key, layout in (
        ("encoder.down_blocks.0.resnets.0.conv1.weight", "diffusers"),
        ("encoder.down.0.block.0.conv1.weight", "original"),
        (f"{VAE}encoder.down.0.block.0.conv1.weight", "original"),
    ):
        if key in entries:
            return Component(components.CONFIGS / "vae", (path,), layout=layout)  # type: ignore[arg-type]
    raise UserError.of(
        where=str(path),
        what="holds no VAE of Stable Diffusion",
        fix="set base.vae to a VAE's .safetensors file or folder, or to base",
    )


def entries_of(entries: Mapping[str, Entry], component: Component, name: str) -> dict[str, Entry]:
    """The tensors of one part in a file, without the part's prefix and without CLIP's positions."""
    prefix = ""
    if component.layout == "original":
        prefix = PREFIXES[name]
        if name == "vae" and not any(key.startswith(prefix) for key in entries):
            prefix = ""  # a VAE in a file of its own
    return {
        key.removeprefix(prefix): entry
        for key, entry in entries.items()
        if key.startswith(prefix) and not key.endswith("position_ids")
    }


def _holds(entries: Mapping[str, Entry], name: str) -> bool:
    return any(key.startswith(PREFIXES[name]) for key in entries)


def _what_else(entries: Mapping[str, Entry]) -> str:
    """What the file is, if it is not a plain SDXL; empty if it is."""
    if any(key.startswith(("lora_", "unet.")) or "lora_A" in key for key in entries):
        return "is a LoRA adapter, not a base model"
    if CONV_IN not in entries:
        if "conv_in.weight" in entries:
            return "is a part of a diffusers folder, not a whole checkpoint"
        return "is not a Stable Diffusion checkpoint"
    for mark, meaning in MARKS.items():
        if any(key.startswith(mark) for key in entries):
            return f"is {meaning}, which this version cannot train"
    problem = _shape_problem({key: entry.shape for key, entry in entries.items()})
    strange = sorted(key for key, entry in entries.items() if _is_mark(key, entry))
    if strange and not problem:
        return f"holds {named(strange[0])}, a mark whose meaning for the training is not known"
    return problem


def _is_mark(key: str, entry: Entry) -> bool:
    """Whether a tensor is no part of a model, but a sign by which programs tell models apart."""
    small = math.prod(entry.shape) <= LARGEST_MARK
    return small and not key.startswith(NO_MARKS) and not key.endswith(("position_ids", "logvar"))


def _shape_problem(shapes: Mapping[str, Shape]) -> str:
    unet = read_json(components.CONFIGS / "unet/config.json")
    if ADDED not in shapes:
        return "is Stable Diffusion 1 or 2, not SDXL"
    expected = _expected(unet)
    if any(len(shapes[key]) != len(expected[key]) for key in (CONV_IN, ADDED)):
        return _differing(shapes, expected)
    channels = shapes[CONV_IN][1]
    if shapes[ADDED][1] != expected[ADDED][1]:
        return "is the SDXL refiner, not the base model"
    if channels != unet["in_channels"]:
        return f"is an SDXL for inpainting or editing ({channels} input channels)"
    return _differing(shapes, expected)


def _differing(shapes: Mapping[str, Shape], expected: Mapping[str, Shape]) -> str:
    wrong = [key for key, shape in expected.items() if shapes.get(key) != shape]
    if not wrong:
        return ""
    return "is not an SDXL checkpoint: " + "; ".join(
        f"{key} has shape {list(shapes.get(key, ()))} instead of {list(expected[key])}"
        for key in wrong
    )


def _expected(unet: Mapping[str, Any]) -> dict[str, Shape]:
    """The shapes that tell SDXL from its relatives."""
    widths = unet["block_out_channels"]
    return {
        CONV_IN: (widths[0], unet["in_channels"], 3, 3),
        ADDED: (4 * widths[0], unet["projection_class_embeddings_input_dim"]),
        CROSS_ATTENTION: (widths[1], unet["cross_attention_dim"]),
    }
