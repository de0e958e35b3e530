"""Methods beyond kohya's LoRA: what is computed, what is known by name, and what is neither."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lora_recipes.formats import matrix
from lora_recipes.formats.delta import delta, norm
from lora_recipes.formats.drift import drift
from lora_recipes.formats.inspection import Inspection, inspect_adapter
from lora_recipes.formats.layout import layout
from lora_recipes.formats.matrix import TooLargeError, distance
from lora_recipes.formats.table import table
from tests.adapter.formats import lora, random
from tests.adapter.test_inspect import write

X = "lora_unet_input_blocks_4_1_proj_in"
OFT = "oft_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
WRAPPED = "lycoris_down_blocks_0_attentions_0_proj_in"
Tensors = dict[str, Tensor]


def looked(tmp_path: Path, tensors: Tensors, header: dict[str, str] | None = None) -> Inspection:
    return inspect_adapter(write(tmp_path / "a.safetensors", tensors, header or {}))


def read(tensors: Tensors):
    arrays = {name: value.numpy() for name, value in tensors.items()}
    (module,) = layout(arrays).modules
    return module, arrays


def words(facts: Inspection) -> str:
    return " ".join(table(facts).split())


# LyCORIS' scalar

SCALED = {
    "LoRA": {"lora_down.weight": random(4, 24), "lora_up.weight": random(16, 4)},
    "LoHa": {
        "hada_w1_a": random(16, 4), "hada_w1_b": random(4, 24),
        "hada_w2_a": random(16, 4, seed=1), "hada_w2_b": random(4, 24, seed=1),
    },
    "LoKr": {"lokr_w1": random(4, 4), "lokr_w2": random(4, 6)},
}  # fmt: skip


@pytest.mark.parametrize("method", SCALED)
def test_lycoris_scalar_multiplies_what_a_module_adds(tmp_path: Path, method: str):
    plain = {f"{X}.{end}": value for end, value in SCALED[method].items()}
    scaled = {**plain, f"{X}.scalar": torch.tensor(0.25)}
    assert norm(*read(scaled)) == pytest.approx(0.25 * norm(*read(plain)))
    facts = looked(tmp_path, scaled)
    assert (facts.methods, facts.unknown, facts.scalars) == ({method: 1}, (), 1)
    assert "ΔW is multiplied by LyCORIS' .scalar: 1" in words(facts)
    assert delta(*read({**plain, f"{X}.scalar": torch.ones(2)})) is None


# OneTrainer


def test_onetrainers_loha_on_a_convolution_keeps_the_kernels_axes_and_has_its_delta(
    tmp_path: Path,
):
    w = [random(16, 4, 1, 1), random(4, 32, 3, 3), random(16, 4, 1, 1, seed=1),
         random(4, 32, 3, 3, seed=1)]  # fmt: skip
    ends = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    tensors = {f"{X}.{end}": value for end, value in zip(ends, w, strict=True)}
    tensors[f"{X}.alpha"] = torch.tensor(2.0)
    facts = looked(tmp_path, tensors)
    a, b, c, d = (value.double().flatten(1) for value in w)
    assert facts.norms[X] == pytest.approx(float((0.5 * (a @ b) * (c @ d)).norm()))
    assert facts.formless == ()


@pytest.mark.parametrize(
    ("name", "part", "style"),
    [
        (WRAPPED, "UNet", "LyCORIS' wrapper, diffusers' block names"),
        ("lycoris_mid_block_attentions_0_proj_in", "UNet",
         "LyCORIS' wrapper, diffusers' block names"),
        ("lycoris_input_blocks_4_1_proj_in", "UNet",
         "LyCORIS' wrapper, original (sgm) block names"),
        ("lycoris_conv_in", "UNet", "LyCORIS' wrapper"),
        ("lycoris_text_model_encoder_layers_0_mlp_fc1", "TE", "LyCORIS' wrapper"),
        ("lycoris_transformer_blocks_0_attn_to_q", "transformer", "LyCORIS' wrapper"),
        ("lycoris_single_transformer_blocks_0_attn_to_q", "transformer", "LyCORIS' wrapper"),
        ("lycoris_unet_down_blocks_0_attentions_0_proj_in", "UNet",
         "kohya, diffusers' block names"),
        ("text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1", "TE1", "ComfyUI"),
        ("text_encoders.clip_g.transformer.text_model.encoder.layers.0.mlp.fc1", "TE2", "ComfyUI"),
        ("text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q", "TE3",
         "ComfyUI"),
        ("diffusion_model.input_blocks.4.1.proj_in", "UNet", "ComfyUI"),
        ("unet.down_blocks.0.attentions.0.proj_in", "UNet",
         "dotted names, diffusers' block names"),
        ("lora_unet.down_blocks.0.attentions.0.proj_in", "UNet",
         "dotted names, diffusers' block names"),
        ("lora_te1.text_model.encoder.layers.0.mlp.fc1", "TE1", "dotted names"),
        ("base_model.model.encoder.layers.0.mlp.fc1", "TE", "not stated"),
        ("oft_unet_down_blocks_0_attentions_0_proj_in", "UNet", "kohya, diffusers' block names"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", SCALED)
def test_part_and_spelling_are_told_for_every_method(name: str, part: str, style: str, method: str):
    found = layout(f"{name}.{end}" for end in SCALED[method])
    assert [(m.part, m.method) for m in found.modules] == [(part, method)]
    assert found.style == style


def test_new_words_of_a_text_encoder_are_called_embeddings(tmp_path: Path):
    facts = looked(tmp_path, {**lora(X), "bundle_emb.zwk.clip_l": random(2, 8)})
    assert (facts.embeddings, facts.unknown) == (("bundle_emb.zwk.clip_l",), ())
    assert "embeddings bundle_emb.zwk.clip_l" in words(facts)


# Methods that are known by name

NAMED = {
    "OFT of kohya": ("OFT", {f"{OFT}.oft_blocks": random(4, 8, 8),
                             f"{OFT}.alpha": torch.tensor(0.001)}),
    "OFT of LyCORIS": ("OFT", {f"{X}.oft_blocks": random(4, 8, 8), f"{X}.rescale": random(32, 1),
                               f"{X}.alpha": torch.tensor(0)}),
    "OFT of peft": ("OFT", {f"base_model.model.{X}.oft_R.weight": random(4, 28)}),
    "BOFT of LyCORIS": ("BOFT", {f"{X}.oft_blocks": random(2, 4, 8, 8),
                                 f"{X}.alpha": torch.tensor(0)}),
    "BOFT of peft": ("BOFT", {f"base_model.model.{X}.boft_R": random(1, 4, 8, 8),
                              f"base_model.model.{X}.boft_s": random(32, 1)}),
    "GLoRA": ("GLoRA", {f"{X}.{n}.weight": random(4, 8) for n in ("a1", "a2", "b1", "b2")}
              | {f"{X}.alpha": torch.tensor(1.0)}),
    "(IA)³ of LyCORIS": ("(IA)³", {f"{X}.weight": random(8), f"{X}.on_input": torch.tensor(0)}),
    "(IA)³ of peft": ("(IA)³", {f"base_model.model.{X}.ia3_l": random(8, 1)}),
    "VeRA": ("VeRA", {f"base_model.model.{X}.vera_lambda_b": random(8),
                      f"base_model.model.{X}.vera_lambda_d": random(4)}),
    "AdaLoRA": ("AdaLoRA", {f"base_model.model.{X}.lora_A": random(4, 8),
                            f"base_model.model.{X}.lora_B": random(8, 4),
                            f"base_model.model.{X}.lora_E": random(4, 1)}),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMED)
def test_a_method_without_a_delta_is_named_and_never_called_incomplete(tmp_path: Path, case: str):
    method, tensors = NAMED[case]
    facts = looked(tmp_path, tensors)
    (module,) = facts.not_computed
    assert facts.methods == {method: 1}
    assert facts.not_computed == {module: method}
    assert (facts.formless, dict(facts.norms), facts.alphas) == ((), {}, {})
    text = words(facts)
    assert f"method {method} " in text
    assert f"without a ΔW {method} (1), {module}: it" in text.replace(": what it does", ": it")
    assert "missing" not in text
    assert "alpha 0" not in text
    assert "scale 1" not in text
    json.dumps(facts.as_dict(), allow_nan=False)


def test_a_method_that_nobody_knows_is_called_so_with_its_tensors(tmp_path: Path):
    facts = looked(tmp_path, {f"{X}.new_w": random(3), f"{X}.alpha": torch.tensor(7.0)})
    assert facts.methods == {"not known": 1}
    text = words(facts)
    assert f"without a ΔW not known (1), {X}: of no method that is known here" in text
    assert f"unknown {X}.new_w; no ΔW holds them" in text
    assert "missing" not in text
    assert "alpha 7" not in text
    alone = looked(tmp_path, {f"{X}.alpha": torch.tensor(7.0)})
    assert f"{X}: tensors are missing or do not fit" in words(alone)


def test_the_delta_of_a_normalization_is_what_is_added_to_its_weight(tmp_path: Path):
    facts = looked(tmp_path, {f"{X}.w_norm": random(8), f"{X}.b_norm": random(8, seed=1)})
    assert facts.methods == {"norm": 1}
    assert facts.norms[X] == pytest.approx(float(random(8).double().norm()))


@pytest.mark.parametrize("case", ["OFT of kohya", "GLoRA", "AdaLoRA"])
def test_diff_says_what_differs_though_no_delta_tells_it(tmp_path: Path, case: str):
    tensors = {**NAMED[case][1], **lora("lora_unet_input_blocks_4_2_proj_in")}
    name = next(iter(NAMED[case][1]))
    old = write(tmp_path / "a.safetensors", tensors, {})
    new = write(tmp_path / "b.safetensors", {**tensors, name: tensors[name] + 1}, {})
    found = drift(old, new)
    (module,) = found.untold
    assert name.startswith(module)
    assert "what they add to the base (ΔW, without 1 module): relative L2 0\n" in found.table()
    assert f"differ too, by what ΔW does not tell: {module}" in found.table()
    assert drift(old, old).untold == ()


@pytest.mark.parametrize("end", ["dora_scale", "diff_b", "something"])
def test_diff_says_that_more_than_delta_differs(tmp_path: Path, end: str):
    old = write(tmp_path / "a.safetensors", {**lora(X), f"{X}.{end}": random(16)}, {})
    new = write(tmp_path / "b.safetensors", {**lora(X), f"{X}.{end}": random(16) * 2}, {})
    found = drift(old, new)
    assert (found.delta_relative_l2, found.untold) == (0, (X,))


# Matrices that are larger than their file


def loha(tall: int, wide: int, rank: int, seed: int = 0) -> Tensors:
    return {
        f"{X}.hada_w1_a": random(tall, rank, seed=seed),
        f"{X}.hada_w1_b": random(rank, wide, seed=seed + 1),
        f"{X}.hada_w2_a": random(tall, rank, seed=seed + 2),
        f"{X}.hada_w2_b": random(rank, wide, seed=seed + 3),
    }


def lokr(tall: int, wide: int, rank: int, seed: int = 0) -> Tensors:
    return {
        f"{X}.lokr_w1": random(3, 2, seed=seed),
        f"{X}.lokr_w2_a": random(tall, rank, seed=seed + 1),
        f"{X}.lokr_w2_b": random(rank, wide, seed=seed + 2),
    }


def test_the_norm_of_a_matrix_of_27_gigabytes_comes_from_its_factors():
    module, arrays = read(loha(60_000, 60_000, 1))
    a, b, c, d = (arrays[name].astype("f8") for name in sorted(arrays))
    expected = np.linalg.norm(a * c) * np.linalg.norm(b * d)
    assert norm(module, arrays) == pytest.approx(expected)
    other = delta(*read(loha(60_000, 60_000, 1, seed=9)))
    assert distance(delta(module, arrays), other) > expected
    assert distance(delta(module, arrays), delta(module, arrays)) == 0
    module, arrays = read(lokr(60_000, 60_000, 1))
    left, right, up = (np.linalg.norm(arrays[name].astype("f8")) for name in sorted(arrays))
    assert norm(module, arrays) == pytest.approx(left * right * up)
    assert distance(delta(module, arrays), delta(*read(lokr(60_000, 60_000, 1, seed=5)))) > 0


@pytest.mark.parametrize("rank", [1, 3, 12])
@pytest.mark.parametrize("make", [loha, lokr])
@pytest.mark.parametrize("block", [1, 100, 2**22])
def test_every_way_to_a_norm_and_a_distance_gives_the_same(monkeypatch, make, rank, block):
    monkeypatch.setattr(matrix, "BLOCK", block)
    old, new = (delta(*read(make(70, 90, rank, seed=seed))) for seed in (0, 7))
    assert old is not None
    assert new is not None
    whole, other = old.whole(), new.whole()
    assert whole.shape == old.shape
    assert distance(None, old) == pytest.approx(np.linalg.norm(whole))
    assert distance(old, new) == pytest.approx(np.linalg.norm(other - whole))
    assert matrix._norm_by_rows([new, old]) == pytest.approx(np.linalg.norm(other - whole))
    if make is loha:
        assert matrix._norm_by_factors([new, old]) == pytest.approx(np.linalg.norm(other - whole))


def test_two_methods_are_compared_by_what_they_add():
    old = delta(*read(loha(30, 40, 2)))
    assert old is not None
    full = delta(*read({f"{X}.diff": torch.from_numpy(old.whole())}))
    assert distance(old, full) < 1e-12
    assert distance(full, delta(*read(lokr(10, 20, 2)))) > 1


def test_what_would_take_too_long_is_named_and_not_tried(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(matrix, "MOST_WORK", 10_000)
    tensors = {**loha(300, 300, 6), **lora("lora_unet_input_blocks_4_2_proj_in", 8, 8)}
    with pytest.raises(TooLargeError):
        norm(*read(loha(300, 300, 6)))
    facts = looked(tmp_path, tensors)
    assert facts.too_large == (X,)
    assert f"without a ΔW {X}: too large to be computed here" in words(facts)
    assert "largest ΔW (of all but 1: " in words(facts)
    new = write(tmp_path / "b.safetensors", {**tensors, **loha(300, 300, 6, seed=4)}, {})
    assert drift(tmp_path / "a.safetensors", new).untold == (X,)


def test_numbers_beyond_float32_are_read_without_a_librarys_warning(tmp_path: Path):
    tensors = {f"{X}.diff": torch.full((2, 2), 1e300, dtype=torch.float64)}
    facts = looked(tmp_path, tensors)
    assert facts.not_finite == {}
    json.dumps(facts.as_dict(), allow_nan=False)
    assert not drift(tmp_path / "a.safetensors", tmp_path / "a.safetensors").modules


# Headers without end


def test_what_a_table_shows_of_a_header_without_end_is_bounded(tmp_path: Path):
    header = {f"field{n}": "x" * 5000 for n in range(3000)}
    header |= {f"lora_recipes.k{n}": "y" for n in range(3000)}
    tensors = {f"{'n' * 5000}{n}": torch.zeros(0) for n in range(20)}
    text = table(looked(tmp_path, tensors, header))
    assert len(text) < 50_000
    assert text.count("and 2,900 more") == 2
    assert "and 15 more; no ΔW holds them" in text


@pytest.mark.parametrize(
    "field", ["lora_recipes.train", "lora_recipes.base", "ot_config", "software", "training_info",
              "lora_adapter_metadata"],
)  # fmt: skip
@pytest.mark.parametrize("depth", [900, 100_000])
@pytest.mark.parametrize("signs", ["[]", "{}"])
def test_a_field_nested_without_end_is_text(tmp_path: Path, field: str, depth: int, signs: str):
    begin = signs[0] if signs == "[]" else '{"a": '
    header = {field: begin * depth + "1" + signs[1] * depth}
    facts = looked(tmp_path, lora(X), header)
    assert table(facts)
    assert json.loads(json.dumps(facts.as_dict()))["metadata"] == header
