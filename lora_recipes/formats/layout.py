"""Which tensors of an adapter file belong together, whoever wrote it, and what each module is.

A file is a flat list of names. What stands before the last part names a module of the model, what
comes last the role of the tensor in it. Trainers spell both differently:

    lora_unet_input_blocks_4_1_proj_in.lora_up.weight       kohya, and most downloads
    unet.mid_block.attentions.0.proj_in.lora.up.weight      diffusers
    unet.….attn1.processor.to_q_lora.up.weight              diffusers, before attention had layers
    base_model.model.….to_q.lora_B.default.weight           peft
    lora_unet_….hada_w1_a, ….lokr_w1, ….dora_scale          LyCORIS

Sources: kohya-ss/sd-scripts, networks/; huggingface/diffusers, loaders/lora_conversion_utils.py;
huggingface/peft, utils/save_and_load.py; KohakuBlueleaf/LyCORIS, lycoris/modules/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NOT_STATED = "not stated"
"""What the tool says of everything that a file leaves open."""

_LYCORIS = (
    *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
)

_SUFFIXES = (
    (re.compile(r"\.(?:lora|lora_linear_layer)\.down\.weight"), "down"),
    (re.compile(r"\.(?:lora|lora_linear_layer)\.up\.weight"), "up"),
    (re.compile(r"\.lora_down\.weight"), "down"),
    (re.compile(r"\.lora_up\.weight"), "up"),
    (re.compile(r"\.lora_mid\.weight"), "mid"),
    (re.compile(r"\.lora_A(?:\.(?P<adapter>[^.]+))?\.weight"), "down"),
    (re.compile(r"\.lora_B(?:\.(?P<adapter>[^.]+))?\.weight"), "up"),
    (re.compile(r"\.lora_magnitude_vector(?:\.(?!weight$)(?P<adapter>[^.]+))?(?:\.weight)?"), "m"),
    (re.compile(r"\.dora_scale"), "m"),
    (re.compile(r"\.alpha"), "alpha"),
    (re.compile(r"\.diff(?:\.weight)?"), "diff"),
    (re.compile(r"\.diff_b"), "diff_b"),
    *(
        (re.compile(rf"\.{role}(?:\.(?!weight$)(?P<adapter>[^.]+))?(?:\.weight)?"), role)
        for role in _LYCORIS
    ),
)
"""How a name ends, and what the tensor is then. `m` are DoRA's magnitudes."""

_LAST_PARTS = 4
"""The most dots from which an ending above can start."""

_OLD_PROCESSOR = re.compile(r"(.+)\.processor\.(to_[qkv]|to_out)_lora\.(down|up)\.weight")

_PARTS = (
    ("TE1", re.compile(r"(?:lora|lycoris)_te1[_.]|text_encoder\.")),
    ("TE2", re.compile(r"(?:lora|lycoris)_te2[_.]|text_encoder_2\.")),
    ("TE3", re.compile(r"(?:lora|lycoris)_te3[_.]|text_encoder_3\.")),
    ("TE", re.compile(r"(?:lora|lycoris)_te_|text_model[._]")),
    (
        "UNet",
        re.compile(
            r"(?:lora|lycoris)_unet[_.]|unet\."
            r"|(?:diffusion_model\.)?(?:(?:down|up|input|output)_blocks|mid_block|middle_block)[._]"
        ),
    ),
    ("transformer", re.compile(r"(?:lora_)?transformer[._]|diffusion_model\.")),
)
"""Which model of the pipeline a module is in, by how its name begins. `TE`: one of the text
encoders, and the name does not say which."""

_KINDS = (
    ("attention", re.compile(r"attn\d?_|attention_|to_(?:q|k|v|out|out_0)$|(?:q|k|v|out)_proj$")),
    ("ff", re.compile(r"(?:^|_)(?:ff|mlp|feed_forward)_|_fc[12]$")),
    ("proj", re.compile(r"proj_(?:in|out)$")),
    (
        "conv",
        re.compile(
            r"conv(?:\d|_in|_out|_shortcut)?$|_(?:in_layers_2|out_layers_3|skip_connection|op)$"
        ),
    ),
)
"""What a module does, by how its name, with `_` for each dot, goes on or ends."""

KINDS = (*(kind for kind, _ in _KINDS), "other")

_STYLES = (
    ("original (sgm) block names", re.compile(r"(?:lora|lycoris)_unet_(?:input|output|middle)_")),
    ("diffusers' block names", re.compile(r"(?:lora|lycoris)_unet_(?:down|up|mid)_block")),
)


INCOMPLETE = "incomplete"
"""The method of a module of which some tensors are missing."""


@dataclass(frozen=True)
class Module:
    """The tensors that change one weight of the model."""

    name: str
    """As the file spells it, with ` @name` behind it for a peft adapter that is not `default`."""

    tensors: Mapping[str, str]
    """Tensor's name by role: down, up, mid, alpha, m, diff, diff_b, hada_…, lokr_…."""

    @property
    def method(self) -> str:
        """LoRA, LoCon, LoHa, LoKr or full; or what is there of one that is not whole."""
        roles = self.tensors.keys()
        if {"down", "up"} <= roles:
            return "LoCon" if "mid" in roles else "LoRA"
        if {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"} <= roles:
            return "LoHa"
        if all(f"lokr_w{n}" in roles or {f"lokr_w{n}_a", f"lokr_w{n}_b"} <= roles for n in (1, 2)):
            return "LoKr"
        if "diff" in roles:
            return "full"
        if "diff_b" in roles:
            return "bias alone"
        return INCOMPLETE

    @property
    def has_magnitudes(self) -> bool:
        """Whether it is DoRA: the weight's columns get magnitudes of their own."""
        return "m" in self.tensors

    @property
    def part(self) -> str:
        """UNet, TE1, TE2, TE, transformer; or that the name does not tell."""
        name = self.name.removeprefix("base_model.model.").removeprefix("model.")
        return next((part for part, pattern in _PARTS if pattern.match(name)), NOT_STATED)

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        name = self.name.partition(" @")[0].replace(".", "_")
        return next((kind for kind, pattern in _KINDS if pattern.search(name)), "other")


@dataclass(frozen=True)
class Layout:
    """All modules of a file, and the tensors that belong to none."""

    modules: tuple[Module, ...]
    """By name."""

    others: tuple[str, ...]
    """Names that no trainer known here writes, by name."""

    style: str
    """Whose spelling it is; several where the file mixes them."""


def layout(names: Iterable[str]) -> Layout:
    """Sort a file's tensors by module."""
    modules: dict[str, dict[str, str]] = {}
    others, styles = [], set()
    for name in sorted(names):
        found = _split(name)
        if found is None or found[1] in modules.get(found[0], {}):
            others.append(name)
            continue
        module, role = found
        modules.setdefault(module, {})[role] = name
        styles.add(_style(name, module))
    whole = tuple(Module(name, tensors) for name, tensors in sorted(modules.items()))
    return Layout(whole, tuple(others), ", ".join(sorted(styles - {""})) or NOT_STATED)


def _split(name: str) -> tuple[str, str] | None:
    """Module and role of a tensor, if any trainer known here would write that name."""
    if old := _OLD_PROCESSOR.fullmatch(name):
        leaf = "to_out.0" if old[2] == "to_out" else old[2]
        return f"{old[1]}.{leaf}", old[3]
    dots = [place for place, letter in enumerate(name) if letter == "."][-_LAST_PARTS:]
    for dot in dots:
        for pattern, role in _SUFFIXES:
            if dot and (found := pattern.fullmatch(name, dot)):
                adapter = found.groupdict().get("adapter") or "default"
                return name[:dot] + ("" if adapter == "default" else f" @{adapter}"), role
    return None


def _style(name: str, module: str) -> str:
    if ".processor." in name:
        return "diffusers, old attention processors"
    if ".lora_A." in name or ".lora_B." in name:
        return "peft" if name.startswith("base_model.model.") else "peft, in diffusers"
    if ".lora.up." in name or ".lora_linear_layer.up." in name:
        return "diffusers"
    if name.startswith(("lora_", "lycoris_")):
        found = next((style for style, pattern in _STYLES if pattern.match(module)), "")
        return f"kohya, {found}" if found else ""
    return ""
