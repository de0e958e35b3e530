"""How a module's method is told from the roles of its tensors."""

from __future__ import annotations

INCOMPLETE = "incomplete"
"""The method of a module of which some tensors are missing."""

UNKNOWN = "not known"
"""The method of a module whose tensors are those of no method that is known here."""

METHODS: tuple[tuple[str, frozenset[str]], ...] = (
    ("LoCon", frozenset({"down", "up", "mid"})),
    ("LoRA", frozenset({"down", "up"})),
    ("LoHa", frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"})),
    *(
        ("LoKr", frozenset({*first, *second}))
        for first in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b"))
        for second in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))
    ),
    ("full", frozenset({"diff"})),
    ("norm", frozenset({"w_norm"})),
    ("bias alone", frozenset({"diff_b"})),
    ("bias alone", frozenset({"b_norm"})),
)
"""Methods and the tensors without which they are not whole; the first that is whole counts."""

NAMED = {
    **dict.fromkeys(("oft_blocks", "oft_R", "oft_r", "oft_s", "oft_diag", "rescale"), "OFT"),
    **dict.fromkeys(("boft_R", "boft_s"), "BOFT"),
    **dict.fromkeys(("a1.weight", "a2.weight", "b1.weight", "b2.weight", "bm.weight"), "GLoRA"),
    **dict.fromkeys(("glora_A", "glora_B", "glora_C", "glora_D", "glora_E"), "GLoRA"),
    **dict.fromkeys(("on_input", "ia3_l"), "(IA)³"),
    **dict.fromkeys(("lambda_layer", "q_layer.weight", "p_layer.weight"), "T-LoRA"),
    **dict.fromkeys(("lora_E", "ranknum"), "AdaLoRA"),
    **dict.fromkeys(("vera_lambda_b", "vera_lambda_d"), "VeRA"),
    **dict.fromkeys(("vblora_logits_A", "vblora_logits_B"), "VB-LoRA"),
    **dict.fromkeys(("randlora_lambda", "randlora_gamma"), "RandLoRA"),
    **dict.fromkeys(("road_theta", "road_alpha"), "RoAd"),
    **dict.fromkeys(("hira_A", "hira_B"), "HiRA"),
    **dict.fromkeys(("delora_A", "delora_B", "delora_lambda"), "DeLoRA"),
    **dict.fromkeys(("gralora_A", "gralora_B"), "GraLoRA"),
    **dict.fromkeys(("bone_block", "miss_block"), "MiSS"),
    **{"hra_u": "HRA", "psoft_R": "PSOFT", "c3a_kernel": "C3A", "shira_weight": "SHiRA"},
    **{"fourierft_spectrum": "FourierFT", "waveft_spectrum": "WaveFT"},
    "ln_tuning_layers": "LN tuning",
}
"""Methods whose ΔW is not computed here, by the ends of their tensors' names: most turn or scale
the base's own weights, so that without the base there is none.

Sources: kohya-ss/sd-scripts, networks/oft.py; KohakuBlueleaf/LyCORIS, lycoris/modules/;
huggingface/peft, tuners/*/layer.py (`adapter_layer_names`).
"""

ELSEWHERE = frozenset(NAMED.values())
"""Methods that are known by name alone."""


def method(roles: frozenset[str], unknown: bool) -> str:
    """The method of a module: LoRA, LoCon, LoHa, LoKr, full, norm, or one of `ELSEWHERE`.

    Args:
        roles: of its tensors.
        unknown: whether tensors stand under its name whose role is not known.
    """
    if named := roles & NAMED.keys():
        return min(NAMED[role] for role in named)
    whole = (name for name, needed in METHODS if needed <= roles)
    return next(whole, UNKNOWN if unknown else INCOMPLETE)
