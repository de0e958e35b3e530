"""What a module of the UNet is called: in diffusers, and in the adapter files that every UI reads.

Adapter files use the names of SDXL's original code (sgm), where the levels' blocks are numbered
through. With SDXL's layout, three levels of two layers each, they stand for each other so:

    diffusers                           original
    down_blocks.L.attentions.A       =  input_blocks.(1 + 3 L + A).1
    mid_block.attentions.0           =  middle_block.1
    up_blocks.L.attentions.A         =  output_blocks.(3 L + A).1

Below an attention both say the same. Files put `lora_unet_` in front and `_` for every dot.
"""

from __future__ import annotations

import re

PREFIX = "lora_unet_"

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""The four projections of an attention: the last parts of a module's path."""

# Two layers and a downsampler on the way down, three layers on the way up.
_PER_LEVEL = 3

_INNER = (
    "proj_in",
    "proj_out",
    *(f"attn{which}.{leaf}" for which in (1, 2) for leaf in ATTENTION),
    "ff.net.0.proj",
    "ff.net.2",
)
_INNER_BY_KOHYA = {inner.replace(".", "_"): inner for inner in _INNER}

_DIFFUSERS = re.compile(
    r"(?:(?P<way>down|up)_blocks\.(?P<level>[0-2])\.attentions\.(?P<layer>[0-2])"
    r"|mid_block\.attentions\.0)"
    r"\.(?P<block>transformer_blocks\.\d+\.)?(?P<inner>[a-z0-9_.]+)"
)
_KOHYA = re.compile(
    PREFIX + r"(?:(?P<way>input|output)_blocks_(?P<number>\d)_1|middle_block_1)"
    r"_(?:transformer_blocks_(?P<block>\d+)_)?(?P<inner>[a-z0-9_]+)"
)


def kohya_name(path: str) -> str:
    """The name in adapter files of a module of diffusers' UNet.

    Args:
        path: the module's path, `down_blocks.1.attentions.0.proj_in`.

    Returns:
        `lora_unet_input_blocks_4_1_proj_in`.

    Raises:
        ValueError: no linear or 1×1 convolution of an SDXL transformer is called that.
    """
    found = _DIFFUSERS.fullmatch(path)
    if not found or not _fits(found["way"], found["layer"], found["block"], found["inner"]):
        raise ValueError(f"no module of an SDXL transformer is called {path}")
    block = found["block"] or ""
    return PREFIX + f"{_original_block(found)}.{block}{found['inner']}".replace(".", "_")


def diffusers_name(name: str) -> str:
    """The path in diffusers' UNet of a module in an adapter file: the inverse of `kohya_name`.

    Raises:
        ValueError: no linear or 1×1 convolution of an SDXL transformer is called that.
    """
    found = _KOHYA.fullmatch(name)
    if found and (inner := _INNER_BY_KOHYA.get(found["inner"])):
        block = f"transformer_blocks.{found['block']}." if found["block"] else ""
        path = f"{_diffusers_block(found)}.{block}{inner}"
        # A block's number outside the layout gives a path that is none.
        parsed = _DIFFUSERS.fullmatch(path)
        if parsed and _fits(parsed["way"], parsed["layer"], parsed["block"], inner):
            return path
    raise ValueError(f"no module of an SDXL transformer is called {name}")


def _fits(way: str | None, layer: str | None, block: str | None, inner: str) -> bool:
    """The way down has two layers a level; only proj_in and proj_out stand outside a block."""
    in_layout = way != "down" or layer in ("0", "1")
    return in_layout and inner in _INNER and (block is None) == inner.startswith("proj_")


def _original_block(found: re.Match[str]) -> str:
    if found["way"] is None:
        return "middle_block.1"
    number = _PER_LEVEL * int(found["level"]) + int(found["layer"])
    return f"input_blocks.{number + 1}.1" if found["way"] == "down" else f"output_blocks.{number}.1"


def _diffusers_block(found: re.Match[str]) -> str:
    if found["way"] is None:
        return "mid_block.attentions.0"
    # input_blocks.0 is the first convolution: it gives level -1, which no pattern accepts.
    level, layer = divmod(int(found["number"]) - (found["way"] == "input"), _PER_LEVEL)
    return f"{'down' if found['way'] == 'input' else 'up'}_blocks.{level}.attentions.{layer}"
