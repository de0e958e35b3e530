"""What Stability's own checkpoints call the weights of SDXL. Needs no torch.

Source: Stability-AI/generative-models, sgm/modules/diffusionmodules; open_clip, TextTransformer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

Shape = tuple[int, ...]

_PER_LEVEL = 3
"""Places in a level of the UNet's two sides: two or three layers, and where it changes its size."""

_HEADS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_IN_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_IN_VAE = (
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
    (r"down_blocks\.(\d)\.resnets", r"down.\1.block"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"conv_norm_out", "norm_out"),
)
_IN_OPEN_CLIP = (
    ("embeddings.token_embedding", "token_embedding"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("final_layer_norm", "ln_final"),
    ("encoder.layers", "transformer.resblocks"),
    ("layer_norm", "ln_"),
    ("self_attn.q_proj.", "attn.in_proj_"),
    ("self_attn", "attn"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
)


def original(name: str, weights: Mapping[str, Shape]) -> dict[str, tuple[Shape, ...]]:
    """The weights of one part as a checkpoint has them, without the part's prefix.

    Args:
        name: `unet`, `vae`, `text_encoder` or `text_encoder_2`.
        weights: names and shapes as in diffusers and transformers.
    """
    if name == "unet":
        return {_unet(key): (shape,) for key, shape in weights.items()}
    if name == "vae":
        levels = len({key.split(".")[2] for key in weights if key.startswith("decoder.up_blocks.")})
        return {_vae(key, levels): _flat_or_not(key, shape) for key, shape in weights.items()}
    if name == "text_encoder":
        return {key: (shape,) for key, shape in weights.items()}
    return dict(_open_clip(weights))


def _unet(key: str) -> str:
    for new, old in _HEADS.items():
        if key.startswith(f"{new}."):
            return old + key.removeprefix(new)
    side, *rest = key.split(".")
    if side == "mid_block":
        kind, number, *inner = rest
        place = "middle_block.1" if kind == "attentions" else f"middle_block.{2 * int(number)}"
        return f"{place}.{_inner(kind, inner)}"
    level, kind, number, *inner = rest
    first = _PER_LEVEL * int(level)
    if kind == "downsamplers":
        return f"input_blocks.{first + 3}.0.op.{inner[-1]}"
    if kind == "upsamplers":
        return f"output_blocks.{first + 2}.2.conv.{inner[-1]}"
    block = f"input_blocks.{first + 1 + int(number)}"
    if side == "up_blocks":
        block = f"output_blocks.{first + int(number)}"
    return f"{block}.{int(kind == 'attentions')}.{_inner(kind, inner)}"


def _inner(kind: str, inner: list[str]) -> str:
    if kind == "attentions":
        return ".".join(inner)
    return ".".join([_IN_RESNET[inner[0]], *inner[1:]])


def _vae(key: str, levels: int) -> str:
    up = re.match(r"decoder\.up_blocks\.(\d)\.(resnets|upsamplers\.0)", key)
    if up:  # counted from the other end
        inner = "block" if up[2] == "resnets" else "upsample"
        key = f"decoder.up.{levels - 1 - int(up[1])}.{inner}{key[up.end() :]}"
    for new, old in _IN_VAE:
        key = re.sub(new, old, key)
    return key


def _flat_or_not(key: str, shape: Shape) -> tuple[Shape, ...]:
    """The VAE's attention is written as convolutions of 1 × 1, or as matrices."""
    attention = ".attentions." in key and len(shape) == 2  # noqa: PLR2004
    return (shape, (*shape, 1, 1)) if attention else (shape,)


def _open_clip(weights: Mapping[str, Shape]) -> Iterator[tuple[str, tuple[Shape, ...]]]:
    """q, k and v are one matrix, and the projection is transposed."""
    for key, shape in weights.items():
        if key == "text_projection.weight":
            yield "text_projection", (shape[::-1],)
        elif ".k_proj." not in key and ".v_proj." not in key:
            name = key
            for new, old in _IN_OPEN_CLIP:
                name = name.replace(new, old)
            yield name, ((3 * shape[0], *shape[1:]) if ".q_proj." in key else shape,)
