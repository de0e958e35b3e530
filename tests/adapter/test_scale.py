"""The scale that a header or peft's configuration states, against diffusers and peft themselves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_recipes.formats.delta import scale
from lora_recipes.formats.drift import drift
from lora_recipes.formats.inspection import inspect_adapter
from lora_recipes.formats.layout import layout
from lora_recipes.formats.scale import CONFIG, LARGEST_CONFIG, read_scales
from lora_recipes.formats.table import table
from lora_recipes.tensors import read_header
from tests.adapter.formats import random
from tests.adapter.tiny import tiny_unet

Q = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
TE = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
TE2 = "text_encoder_2.text_model.encoder.layers.0.mlp.fc1"
PEFT = "base_model.model.mid_block.attentions.0.transformer_blocks.0.attn1.to_k"


def module(name: str, rank: int = 4) -> dict[str, torch.Tensor]:
    return {
        f"{name}.lora_A.weight": random(rank, 64),
        f"{name}.lora_B.weight": random(64, rank, seed=1),
    }


def write(path: Path, tensors: dict[str, torch.Tensor], stated: dict[str, Any] | None = None):
    header = {"format": "pt"}
    if stated is not None:
        header["lora_adapter_metadata"] = json.dumps(stated)
    save_file(tensors, path, header)
    return path


def scales(path: Path) -> dict[str, float]:
    """The scale of each module of a file."""
    arrays = {name: value.float().numpy() for name, value in load_file(path).items()}
    stated = read_scales(path, read_header(path).metadata)
    return {m.name: scale(m, arrays, stated) for m in layout(arrays).modules}


CONFIGURATIONS = [
    {"r": 4, "lora_alpha": 2, "target_modules": ["to_q", "to_v"]},
    {"r": 4, "lora_alpha": 8, "target_modules": ["to_q", "to_v"], "use_rslora": True},
    {
        "r": 4,
        "lora_alpha": 6,
        "target_modules": ["to_q", "to_k", "to_v", "to_out.0"],
        "alpha_pattern": {"attn1.to_q": 1, ".*attn2.*": 3, "(to_k|to_v)": 5, "to_out.0": 7},
        "rank_pattern": {"attn1.to_v": 2, "to_out.0": 8},
    },
    {
        "r": 4,
        "lora_alpha": 6,
        "target_modules": ["to_q"],
        "use_rslora": True,
        "alpha_pattern": {r"^down_blocks\.1\..*to_q": 12, "o_q": 100, "blocks.0.attn1.to_q": 24},
    },
]


@pytest.mark.parametrize("stated", CONFIGURATIONS)
@pytest.mark.filterwarnings("ignore:.*(rslora|did not match any targeted).*")
def test_every_module_of_diffusers_file_has_the_scale_that_diffusers_gives_it(
    tmp_path: Path, stated: dict[str, Any]
):
    from diffusers import StableDiffusionXLPipeline
    from peft import LoraConfig, get_peft_model_state_dict

    unet = tiny_unet()
    config = LoraConfig(**stated)
    unet.add_adapter(config)
    StableDiffusionXLPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(unet),
        unet_lora_adapter_metadata=config.to_dict(),
    )
    fresh = tiny_unet()
    StableDiffusionXLPipeline.load_lora_into_unet(
        *StableDiffusionXLPipeline.lora_state_dict(tmp_path, return_lora_metadata=True)[:2],
        unet=fresh,
        metadata=StableDiffusionXLPipeline.lora_state_dict(tmp_path, return_lora_metadata=True)[2],
    )
    expected = {
        f"unet.{name}": layer.scaling["default_0"]
        for name, layer in fresh.named_modules()
        if hasattr(layer, "scaling")
    }
    found = scales(tmp_path / "pytorch_lora_weights.safetensors")
    assert found == pytest.approx(expected)
    assert found


@pytest.mark.parametrize("kind", ["lora", "loha", "lokr"])
def test_every_module_of_pefts_file_has_the_scale_and_the_delta_that_peft_gives_it(
    tmp_path: Path, kind: str
):
    from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model

    made = {
        "lora": lambda: LoraConfig(r=4, lora_alpha=2, target_modules=["to_q"], use_rslora=True),
        "loha": lambda: LoHaConfig(r=4, alpha=2, target_modules=["to_q"]),
        "lokr": lambda: LoKrConfig(r=4, alpha=2, target_modules=["to_q"], decompose_factor=8),
    }[kind]()
    model = torch.nn.ModuleDict(
        {"a": torch.nn.ModuleDict({"to_q": torch.nn.Linear(64, 64, bias=False)})}
    )
    adapted = get_peft_model(model, made)
    with torch.no_grad():
        for weight in (p for p in adapted.parameters() if p.requires_grad):
            weight.copy_(random(*weight.shape))
    adapted.save_pretrained(tmp_path)
    facts = inspect_adapter(tmp_path / "adapter_model.safetensors")
    layer = adapted.base_model.model["a"]["to_q"]
    added = layer.get_delta_weight("default").detach()
    assert facts.norms == {"base_model.model.a.to_q": pytest.approx(float(added.norm()), rel=1e-5)}
    assert facts.alphas == {"2": 1}
    assert facts.scales == {CONFIG: 1}
    text = table(facts)
    assert " alpha 2 from adapter_config.json " in " ".join(text.split())
    assert "without alpha" not in text
    assert ("divided by √rank (use_rslora): 1" in text) == (kind == "lora")


def test_an_alpha_in_the_header_alone_is_told_once_and_used(tmp_path: Path):
    stated = {"unet.r": 4, "unet.lora_alpha": 64, "unet.use_rslora": False}
    one = inspect_adapter(write(tmp_path / "a.safetensors", module(Q), stated))
    bare = inspect_adapter(write(tmp_path / "b.safetensors", module(Q)))
    assert one.norms[Q] == pytest.approx(16 * bare.norms[Q])
    text = table(one)
    assert "  alpha       64\n              from lora_adapter_metadata: unet\n" in text
    assert "  alpha          64  (lora_adapter_metadata: unet.lora_alpha)\n" in text
    assert "without alpha" not in text
    assert "without alpha ΔW below is at the scale 1\n" in table(bare)


def test_each_model_of_the_pipeline_has_its_own_configuration(tmp_path: Path):
    stated = {
        "unet.r": 4, "unet.lora_alpha": 8, "unet.alpha_pattern": {"to_q": 2},
        "text_encoder.r": 4, "text_encoder.lora_alpha": 12,
    }  # fmt: skip
    path = write(tmp_path / "a.safetensors", {**module(Q), **module(TE), **module(TE2)}, stated)
    assert scales(path) == {Q: 0.5, TE: 3.0, TE2: 1.0}
    text = table(inspect_adapter(path))
    assert "from lora_adapter_metadata: text_encoder (1), lora_adapter_metadata: unet (1)" in (
        text.replace("not stated (1), ", "")
    )
    assert "without alpha ΔW below is at the scale 1: 1\n" in text
    assert 'unet 8, text_encoder 12; unet.alpha_pattern {"to_q": 2}' in text


def test_an_alpha_among_the_tensors_comes_before_what_the_header_says(tmp_path: Path):
    tensors = {**module(Q), f"{Q}.alpha": torch.tensor(2.0)}
    path = write(tmp_path / "a.safetensors", tensors, {"unet.r": 4, "unet.lora_alpha": 64})
    assert scales(path) == {Q: 0.5}


def test_two_files_of_equal_tensors_and_other_scales_are_told_apart(tmp_path: Path):
    one = write(tmp_path / "a.safetensors", module(Q), {"unet.r": 4, "unet.lora_alpha": 64})
    two = write(tmp_path / "b.safetensors", module(Q))
    found = drift(one, two)
    assert found.is_none
    assert found.delta_relative_l2 == pytest.approx(15 / 16)
    assert found.scales == ((16.0, 1.0, 1),)
    assert found.table() == (
        "the tensors are equal, number by number, but not their scales\n"
        "what they add to the base (ΔW): relative L2 0.938\n"
        f"  0.938  {Q}\n"
        "scale (alpha / rank): 16 → 1 in 1 module"
    )
    assert drift(one, one).table() == "the tensors are equal, number by number"


def test_pefts_configuration_is_not_taken_for_another_trainers_file_beside_it(tmp_path: Path):
    (tmp_path / CONFIG).write_text(json.dumps({"r": 4, "lora_alpha": 64, "peft_type": "LORA"}))
    assert scales(write(tmp_path / "a.safetensors", module(Q))) == {Q: 1.0}
    assert scales(write(tmp_path / "b.safetensors", module(PEFT))) == {PEFT: 16.0}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "adapter_config.json is not JSON, or no configuration"),
        (b"[" * 100_000, "adapter_config.json is not JSON, or no configuration"),
        (b"[1]", "adapter_config.json is not JSON, or no configuration"),
        (b" " * (LARGEST_CONFIG + 1),
         "adapter_config.json is no file, or larger than 1,048,576 bytes"),
        (b'{"r": 4, "lora_alpha": "64"}',
         "adapter_config.json: alpha and r are not numbers that can be used"),
        (b'{"r": 4, "lora_alpha": NaN}',
         "adapter_config.json: alpha and r are not numbers that can be used"),
        (b'{"r": 0, "lora_alpha": 4}',
         "adapter_config.json: alpha and r are not numbers that can be used"),
        (b'{"r": true, "lora_alpha": 4}',
         "adapter_config.json: alpha and r are not numbers that can be used"),
        (b'{"r": 4, "lora_alpha": 4, "alpha_pattern": {"(a+)+b": 2}}',
         "adapter_config.json: alpha_pattern of (a+)+b cannot be matched here"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_used_is_named_and_nothing_else_fails(
    tmp_path: Path, content: bytes, told: str
):
    (tmp_path / CONFIG).write_bytes(content)
    path = write(tmp_path / "a.safetensors", module(PEFT))
    assert scales(path) == {PEFT: 1.0}
    assert f"not used: {told}\n" in table(inspect_adapter(path))


def test_a_pipe_in_place_of_the_configuration_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / CONFIG)
    assert scales(write(tmp_path / "a.safetensors", module(PEFT))) == {PEFT: 1.0}
