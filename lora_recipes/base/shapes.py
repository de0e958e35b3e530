"""Every weight of a model's parts, name and shape, from its configuration alone. Needs no torch.

The configuration has been checked: what stands here trusts its types and ranges.

Source: diffusers 0.42.1, UNet2DConditionModel and AutoencoderKL; transformers 5.23, CLIPTextModel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lora_recipes.base.known import DEFAULTS

Shape = tuple[int, ...]
Weights = Iterator[tuple[str, Shape]]


def weights(name: str, config: Mapping[str, Any]) -> dict[str, Shape]:
    """The weights of one part, under the names that diffusers and transformers give them.

    Args:
        name: `unet`, `vae`, `text_encoder` or `text_encoder_2`.
        config: its configuration, as far as it states what is not the libraries' default.
    """
    whole = {**DEFAULTS[name], **config}
    kinds = {"unet": _unet, "vae": _vae, "text_encoder": _text, "text_encoder_2": _text_2}
    return dict(kinds[name](whole))


def _unet(config: Mapping[str, Any]) -> Weights:
    widths, groups = config["block_out_channels"], len(config["block_out_channels"])
    layers = _each(config["layers_per_block"], groups)
    depths = _each(config["transformer_layers_per_block"], groups)
    time, text = 4 * widths[0], config["cross_attention_dim"]
    linear = config["use_linear_projection"]

    yield from _conv("conv_in", config["in_channels"], widths[0])
    yield from _linear("time_embedding.linear_1", widths[0], time)
    yield from _linear("time_embedding.linear_2", time, time)
    yield from _linear(
        "add_embedding.linear_1", config["projection_class_embeddings_input_dim"], time
    )
    yield from _linear("add_embedding.linear_2", time, time)

    skips, width = [widths[0]], widths[0]
    for level, kind in enumerate(config["down_block_types"]):
        block = f"down_blocks.{level}"
        for layer in range(layers[level]):
            yield from _resnet(f"{block}.resnets.{layer}", width, widths[level], time)
            width = widths[level]
            if kind.startswith("Cross"):
                place = f"{block}.attentions.{layer}"
                yield from _transformer(place, width, text, depths[level], linear=linear)
            skips.append(width)
        if level < groups - 1:
            yield from _conv(f"{block}.downsamplers.0.conv", width, width)
            skips.append(width)

    for layer in (0, 1):
        yield from _resnet(f"mid_block.resnets.{layer}", width, width, time)
    yield from _transformer("mid_block.attentions.0", width, text, depths[-1], linear=linear)

    for level, kind in enumerate(config["up_block_types"]):
        block, out = f"up_blocks.{level}", widths[groups - 1 - level]
        for layer in range(layers[groups - 1 - level] + 1):
            yield from _resnet(f"{block}.resnets.{layer}", width + skips.pop(), out, time)
            width = out
            if kind.startswith("Cross"):
                place = f"{block}.attentions.{layer}"
                depth = depths[groups - 1 - level]
                yield from _transformer(place, width, text, depth, linear=linear)
        if level < groups - 1:
            yield from _conv(f"{block}.upsamplers.0.conv", width, width)

    yield from _norm("conv_norm_out", widths[0])
    yield from _conv("conv_out", widths[0], config["out_channels"])


def _transformer(place: str, width: int, text: int, depth: int, *, linear: bool) -> Weights:
    yield from _norm(f"{place}.norm", width)
    project = _linear if linear else _point
    yield from project(f"{place}.proj_in", width, width)
    yield from project(f"{place}.proj_out", width, width)
    for number in range(depth):
        block = f"{place}.transformer_blocks.{number}"
        for part in ("norm1", "norm2", "norm3"):
            yield from _norm(f"{block}.{part}", width)
        for attention, source in (("attn1", width), ("attn2", text)):
            yield f"{block}.{attention}.to_q.weight", (width, width)
            yield f"{block}.{attention}.to_k.weight", (width, source)
            yield f"{block}.{attention}.to_v.weight", (width, source)
            yield from _linear(f"{block}.{attention}.to_out.0", width, width)
        yield from _linear(f"{block}.ff.net.0.proj", width, 8 * width)  # GEGLU: value and gate
        yield from _linear(f"{block}.ff.net.2", 4 * width, width)


def _vae(config: Mapping[str, Any]) -> Weights:
    widths, layers = config["block_out_channels"], config["layers_per_block"]
    latent, last = config["latent_channels"], len(config["block_out_channels"]) - 1

    yield from _conv("encoder.conv_in", config.get("in_channels", 3), widths[0])
    width = widths[0]
    for level, out in enumerate(widths):
        block = f"encoder.down_blocks.{level}"
        for layer in range(layers):
            yield from _resnet(f"{block}.resnets.{layer}", width, out)
            width = out
        if level < last:
            yield from _conv(f"{block}.downsamplers.0.conv", out, out)
    yield from _vae_middle("encoder", config)
    yield from _norm("encoder.conv_norm_out", width)
    yield from _conv("encoder.conv_out", width, 2 * latent)
    if config["use_quant_conv"]:
        yield from _point("quant_conv", 2 * latent, 2 * latent)

    if config["use_post_quant_conv"]:
        yield from _point("post_quant_conv", latent, latent)
    yield from _conv("decoder.conv_in", latent, width)
    yield from _vae_middle("decoder", config)
    for level, out in enumerate(reversed(widths)):
        block = f"decoder.up_blocks.{level}"
        for layer in range(layers + 1):
            yield from _resnet(f"{block}.resnets.{layer}", width, out)
            width = out
        if level < last:
            yield from _conv(f"{block}.upsamplers.0.conv", out, out)
    yield from _norm("decoder.conv_norm_out", width)
    yield from _conv("decoder.conv_out", width, config.get("out_channels", 3))


def _vae_middle(side: str, config: Mapping[str, Any]) -> Weights:
    width = config["block_out_channels"][-1]
    for layer in (0, 1):
        yield from _resnet(f"{side}.mid_block.resnets.{layer}", width, width)
    if config["mid_block_add_attention"]:
        attention = f"{side}.mid_block.attentions.0"
        yield from _norm(f"{attention}.group_norm", width)
        for part in ("to_q", "to_k", "to_v", "to_out.0"):
            yield from _linear(f"{attention}.{part}", width, width)


def _text(config: Mapping[str, Any]) -> Weights:
    """Without the `text_model.` that some versions put before every name."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    yield "embeddings.token_embedding.weight", (config["vocab_size"], width)
    yield "embeddings.position_embedding.weight", (config["max_position_embeddings"], width)
    for layer in range(config["num_hidden_layers"]):
        block = f"encoder.layers.{layer}"
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            yield from _linear(f"{block}.self_attn.{part}", width, width)
        yield from _norm(f"{block}.layer_norm1", width)
        yield from _norm(f"{block}.layer_norm2", width)
        yield from _linear(f"{block}.mlp.fc1", width, inner)
        yield from _linear(f"{block}.mlp.fc2", inner, width)
    yield from _norm("final_layer_norm", width)


def _text_2(config: Mapping[str, Any]) -> Weights:
    yield from _text(config)
    yield "text_projection.weight", (config["projection_dim"], config["hidden_size"])


def _resnet(place: str, width: int, out: int, time: int = 0) -> Weights:
    yield from _norm(f"{place}.norm1", width)
    yield from _conv(f"{place}.conv1", width, out)
    if time:
        yield from _linear(f"{place}.time_emb_proj", time, out)
    yield from _norm(f"{place}.norm2", out)
    yield from _conv(f"{place}.conv2", out, out)
    if width != out:
        yield from _point(f"{place}.conv_shortcut", width, out)


def _conv(place: str, width: int, out: int) -> Weights:
    yield from _with_bias(place, (out, width, 3, 3))


def _point(place: str, width: int, out: int) -> Weights:
    yield from _with_bias(place, (out, width, 1, 1))


def _linear(place: str, width: int, out: int) -> Weights:
    yield from _with_bias(place, (out, width))


def _norm(place: str, width: int) -> Weights:
    yield from _with_bias(place, (width,))


def _with_bias(place: str, shape: Shape) -> Weights:
    yield f"{place}.weight", shape
    yield f"{place}.bias", shape[:1]


def _each(value: int | list[int], count: int) -> list[int]:
    return value if isinstance(value, list) else [value] * count
