"""Adapter files: sound ones of every trainer's names, and headers that say what cannot be."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

from hypothesis import strategies as st

from lora_recipes.formats.header import _QUESTIONS
from lora_recipes.formats.layout import _LYCORIS
from lora_recipes.formats.methods import NAMED
from lora_recipes.tensors import BYTES_PER_VALUE
from tests.fuzz.hostile import damaged, texts, values

MODULES = (
    "lora_unet_input_blocks_4_1_proj_in", "lora_unet_down_blocks_1_attentions_0_attn2_to_k",
    "unet.mid_block.attentions.0.proj_in", "base_model.model.down_blocks.0.to_q", "lycoris_conv_in",
    "lora_te1_text_model_encoder_layers_0_mlp_fc1", "text_encoders.clip_l.transformer.x",
    "oft_unet_output_blocks_0", "x\x1b[2J", "x\nFORGED: all is well", "", ".",
    "a.processor.to_q_lora",
)  # fmt: skip
ENDS = (
    "lora_up.weight", "lora_down.weight", "lora_mid.weight", "alpha", "lora.up.weight",
    "lora.down.weight", "lora_A.weight", "lora_B.weight", "lora_A.other.weight",
    "lora_B.other.weight",
    "diff", "diff_b", "w_norm", "scalar", "dora_scale", "lora_magnitude_vector", "up.weight",
    "bias",
    *_LYCORIS, *NAMED,
)  # fmt: skip
SHAPES = (
    (), (1,), (2,), (0,), (2, 2), (4, 2), (2, 4), (1, 1), (4, 2, 1, 1), (2, 4, 3, 3), (2, 2, 3, 3),
    (0, 2), (2, 0), (1, 1, 1, 1, 1),
)  # fmt: skip
ODD_SHAPES = (
    [-2, -2], [2**62, 4], [2.0, 2.0], [True, 4], ["2"], None, [1] * 65, [[2], 2], [2**63], [10**30],
    [0, 2**62], 7, {}, [-1, 0],
)  # fmt: skip
FIELDS = (
    "lora_recipes.train", "lora_recipes.base", "lora_recipes.hash", "lora_recipes.step",
    "lora_adapter_metadata", "ot_config", "training_info", "software", "sshs_model_hash", "name",
    *(place.partition(":")[0] for places in _QUESTIONS.values() for place in places),
)  # fmt: skip
PEFT = (
    "r", "lora_alpha", "use_rslora", "target_modules", "alpha_pattern", "rank_pattern", "unet.r",
    "unet.lora_alpha", "unet.alpha_pattern", "unet.rank_pattern", "text_encoder.r",
)  # fmt: skip
PATTERNS = ("to_q", ".*", "(a|b)*", "((((a", "^to_k$", "a" * 300, "(a|b)" * 12, "\\", "x\x1b[2J")

Header = dict[str, Any]


@st.composite
def headers(draw: st.DrawFn) -> tuple[Header, int]:
    """A header and how many bytes stand behind it; most are sound."""
    header: Header = {}
    start = 0
    for module, ends, dtype, shape, way in draw(_tensors):
        for end in ends:
            size = math.prod(shape) * BYTES_PER_VALUE[dtype]
            entry = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, start + size]}
            header[f"{module}.{end}"] = entry
            start += size
        if way > 26 and ends:
            entry |= draw(_oddity)
    metadata = draw(_metadata)
    if metadata is not None:
        header["__metadata__"] = metadata
    extra = draw(_extra)
    return header, max(0, start + (extra if extra in (-1, 1) else 0))


_ends = st.lists(st.sampled_from(ENDS), max_size=4, unique=True)
_pairs = st.sampled_from(
    (
        ["lora_up.weight", "lora_down.weight", "alpha"],
        ["lora_A.weight", "lora_B.weight"],
        ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1"],
        ["lokr_w1", "lokr_w2_a", "lokr_w2_b", "lokr_t2"],
    )
)
_tensors = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(MODULES), texts(6)),
        st.one_of(_ends, _pairs),
        st.sampled_from(tuple(BYTES_PER_VALUE)),
        st.sampled_from(SHAPES),
        st.integers(0, 29),
    ),
    max_size=4,
)
_oddity = st.one_of(
    st.sampled_from(ODD_SHAPES).map(lambda shape: {"shape": shape}),
    st.fixed_dictionaries({"dtype": st.one_of(texts(4), values(2))}),
    st.fixed_dictionaries({"data_offsets": st.lists(values(1), max_size=3)}),
    st.sampled_from(
        ([0, 2**63], [2**64, 0], [-1, 8], [8, 0], [0, 8, 16], [0.0, 8.0], [True, 8])
    ).map(lambda ends: {"data_offsets": ends}),
    st.fixed_dictionaries({"more": values(2)}),
)
_extra = st.integers(-9, 9)
_inner = st.one_of(
    values(4).map(json.dumps),
    st.dictionaries(
        st.sampled_from(PEFT),
        st.one_of(st.sampled_from((4, 8.0, True, "x", 10**400, -1, 0)),
                  st.dictionaries(st.sampled_from(PATTERNS), values(1), max_size=3)),
        max_size=4,
    ).map(json.dumps),
    st.just("[" * 300),
    texts(),
)  # fmt: skip
_metadata = st.one_of(
    st.none(),
    st.dictionaries(st.one_of(st.sampled_from(FIELDS), texts(6)), _inner, max_size=5),
    st.dictionaries(st.sampled_from(FIELDS), values(2), max_size=3),
    st.integers(0, 5).map(lambda n: {f"field{k}": "x" * 200 for k in range(n * 30)}),
)
TINY = 64
_bytes = st.binary(max_size=TINY)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A whole file: its header, sometimes damaged as text or in its length, and its numbers."""
    header, size = draw(headers())
    text = json.dumps(header)
    way = draw(_way)
    if way == 19:
        text = draw(damaged(text))
    data = text.encode("utf-8", "surrogatepass")
    length = draw(st.sampled_from(LENGTHS)) if way == 18 else len(data)
    numbers = (draw(_bytes) or b"\0") * (size // TINY * TINY + 1)
    return struct.pack("<Q", length) + data + numbers[:size]


_way = st.integers(0, 19)
LENGTHS = (0, 1, 2, 7, 2**31, 2**63, 2**64 - 1, 100_000_000, 99_999_999)
