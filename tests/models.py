"""A tiny random SDXL for tests: SDXL's own classes and block layout, under a million weights.

`tiny_sdxl(folder)` fills a folder as diffusers does, `single_file(folder, path)` writes the same
weights as one checkpoint with Stability's names.
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lora_recipes.tensors import read_tensors, write_tensors

WORDS = ("a", "photo", "of", "red", "blue", "green", "star", "circle", "ring", "on", "zorp")


def tiny_sdxl(folder: Path) -> Path:
    """Put the tiny SDXL into a folder. Built once per process: the same bytes each time."""
    shutil.copytree(_built().name, folder, dirs_exist_ok=True)
    return folder


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A byte-level BPE as CLIP's, with merges for a few words; start and end are the last ids."""
    letters = sorted(ByteLevel.alphabet())
    symbols = dict.fromkeys([*letters, *(f"{letter}</w>" for letter in letters)])
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        left, *rest = [*word[:-1], f"{word[-1]}</w>"]
        for right in rest:
            merges[(left, right)] = None
            left += right
            symbols[left] = None
    names = [*symbols, "<|startoftext|>", "<|endoftext|>"]
    return {name: index for index, name in enumerate(names)}, list(merges)


def single_file(folder: Path, path: Path) -> Path:
    """Write the folder's weights as one checkpoint, named as Stability's own."""
    files = (
        "unet/diffusion_pytorch_model",
        "vae/diffusion_pytorch_model",
        "text_encoder/model",
        "text_encoder_2/model",
    )
    parts = [read_tensors(folder / f"{file}.safetensors") for file in files]
    write_tensors(path, original_names(*parts), {})
    return path


def original_names(
    unet: dict[str, Tensor],
    vae: dict[str, Tensor],
    text: dict[str, Tensor],
    text_2: dict[str, Tensor],
) -> dict[str, Tensor]:
    """The parts' weights as one checkpoint has them; works on the meta device too."""
    tensors = {f"model.diffusion_model.{original_unet(key)}": v for key, v in unet.items()}
    tensors |= {f"first_stage_model.{original_vae(k)}": _conv(k, v) for k, v in vae.items()}
    start = "conditioner.embedders.0.transformer.text_model."
    tensors |= {start + key.removeprefix("text_model."): v for key, v in text.items()}
    tensors[f"{start}embeddings.position_ids"] = torch.arange(77)[None]
    start = "conditioner.embedders.1.model."
    return tensors | {start + key: v for key, v in _open_clip(text_2).items()}


def original_unet(name: str) -> str:
    """A UNet weight's name in Stability's checkpoints, from its name in diffusers."""
    for new, old in (
        ("time_embedding.linear_1", "time_embed.0"),
        ("time_embedding.linear_2", "time_embed.2"),
        ("add_embedding.linear_1", "label_emb.0.0"),
        ("add_embedding.linear_2", "label_emb.0.2"),
        ("conv_in", "input_blocks.0.0"),
        ("conv_norm_out", "out.0"),
        ("conv_out", "out.2"),
    ):
        if name.startswith(f"{new}."):
            return name.replace(new, old, 1)
    parts = name.split(".")
    if parts[0] == "mid_block":
        place = 1 if parts[1] == "attentions" else 2 * int(parts[2])
        return ".".join(["middle_block", str(place), _inner(parts[3:], parts[1])])
    side, block, kind, layer = parts[0], int(parts[1]), parts[2], int(parts[3])
    if kind == "downsamplers":
        return ".".join([f"input_blocks.{3 * block + 3}.0.op", *parts[5:]])
    if kind == "upsamplers":
        return ".".join([f"output_blocks.{3 * block + 2}.2.conv", *parts[5:]])
    start = f"input_blocks.{3 * block + layer + 1}"
    if side == "up_blocks":
        start = f"output_blocks.{3 * block + layer}"
    return ".".join([start, str(int(kind == "attentions")), _inner(parts[4:], kind)])


def original_vae(name: str) -> str:
    """A VAE weight's name in Stability's checkpoints, from its name in diffusers."""
    parts = name.split(".")
    if parts[1:2] == ["up_blocks"]:
        parts[2] = str(3 - int(parts[2]))
    name = ".".join(parts)
    for new, old in (
        ("down_blocks", "down"), ("up_blocks", "up"), ("downsamplers.0", "downsample"),
        ("upsamplers.0", "upsample"), ("mid_block.resnets.0", "mid.block_1"),
        ("mid_block.resnets.1", "mid.block_2"), ("mid_block.attentions.0", "mid.attn_1"),
        ("resnets", "block"), ("conv_norm_out", "norm_out"), ("group_norm", "norm"),
        ("conv_shortcut", "nin_shortcut"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"),
        ("to_out.0", "proj_out"),
    ):  # fmt: skip
        name = name.replace(new, old)
    return name


def _inner(parts: list[str], kind: str) -> str:
    if kind == "attentions":
        return ".".join(parts)
    names = {
        "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
    }  # fmt: skip
    return ".".join([names[parts[0]], *parts[1:]])


def _conv(name: str, tensor: Tensor) -> Tensor:
    linear = ".attentions." in name and "group_norm" not in name and name.endswith("weight")
    return tensor[:, :, None, None] if linear else tensor


def _open_clip(text: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' CLIP as OpenCLIP names it: q, k and v in one, the projection transposed."""
    out = {"logit_scale": torch.tensor(4.6)}
    for key, tensor in text.items():
        name = key.removeprefix("text_model.")
        if name == "text_projection.weight":
            out["text_projection"] = tensor.T
        elif ".k_proj." not in name and ".v_proj." not in name:
            if ".q_proj." in name:
                parts = [text[key.replace("q_proj", f"{part}_proj")] for part in "qkv"]
                tensor = torch.cat(parts)  # noqa: PLW2901
            for new, old in (
                ("embeddings.token_embedding", "token_embedding"),
                ("embeddings.position_embedding.weight", "positional_embedding"),
                ("final_layer_norm", "ln_final"), ("encoder.layers", "transformer.resblocks"),
                ("layer_norm", "ln_"), ("self_attn.q_proj.", "attn.in_proj_"),
                ("self_attn", "attn"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
            ):  # fmt: skip
                name = name.replace(new, old)
            out[name] = tensor
    return out


@functools.cache
def _built() -> tempfile.TemporaryDirectory[str]:
    home = tempfile.TemporaryDirectory(prefix="tiny-sdxl-")
    _build(Path(home.name))
    return home


def _build(folder: Path) -> None:
    symbols, merges = vocabulary()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        text = CLIPTextConfig(
            vocab_size=len(symbols), hidden_size=24, intermediate_size=48, num_hidden_layers=3,
            num_attention_heads=2, projection_dim=24, hidden_act="quick_gelu",
            bos_token_id=0, eos_token_id=2, pad_token_id=1,
        )  # fmt: skip
        text_2 = CLIPTextConfig(
            vocab_size=len(symbols), hidden_size=40, intermediate_size=80, num_hidden_layers=4,
            num_attention_heads=2, projection_dim=40, hidden_act="gelu",
            bos_token_id=0, eos_token_id=2, pad_token_id=1,
        )  # fmt: skip
        CLIPTextModel(text).save_pretrained(folder / "text_encoder")
        CLIPTextModelWithProjection(text_2).save_pretrained(folder / "text_encoder_2")
        _unet().save_pretrained(folder / "unet")
        _vae().save_pretrained(folder / "vae")
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
        timestep_spacing="leading",
    )  # fmt: skip
    scheduler.save_pretrained(folder / "scheduler")
    for name, pad in (("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")):
        _write_tokenizer(folder / name, symbols, merges, pad)
    parts = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
    }
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True}
    (folder / "model_index.json").write_text(json.dumps(index | parts), "utf-8")


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16, block_out_channels=(16, 32, 32), layers_per_block=2, norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2), attention_head_dim=(2, 2, 4),
        use_linear_projection=True, cross_attention_dim=64, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=88,
    )  # fmt: skip


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1, norm_num_groups=4,
        sample_size=128, scaling_factor=0.13025, force_upcast=True,
    )  # fmt: skip


def _write_tokenizer(
    folder: Path, symbols: dict[str, int], merges: list[tuple[str, str]], pad: str
) -> None:
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(symbols, ensure_ascii=False), "utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    config = {
        "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>", "pad_token": pad, "model_max_length": 77,
        "tokenizer_class": "CLIPTokenizer",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
