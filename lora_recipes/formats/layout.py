"""Which tensors of an adapter file belong together, whoever wrote it, and what each module is.

A file is a flat list of names. What stands before the last part names a module of the model, what
comes last the role of the tensor in it. Trainers spell both differently:

    lora_unet_input_blocks_4_1_proj_in.lora_up.weight       kohya, and most downloads
    unet.mid_block.attentions.0.proj_in.lora.up.weight      diffusers
    unet.….attn1.processor.to_q_lora.up.weight              diffusers, before attention had layers
    base_model.model.….to_q.lora_B.default.weight           peft
    lora_unet_….hada_w1_a, ….lokr_w1, ….dora_scale          LyCORIS
    lycoris_down_blocks_0_attentions_0_proj_in.…            LyCORIS' wrapper
    text_encoders.clip_l.transformer.text_model.….lora_up   ComfyUI
    oft_unet_….oft_blocks, ….a1.weight, ….vera_lambda_b     methods that are known by name alone

Sources: kohya-ss/sd-scripts, networks/; huggingface/diffusers, loaders/lora_conversion_utils.py;
huggingface/peft, utils/save_and_load.py; KohakuBlueleaf/LyCORIS, lycoris/modules/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lora_recipes.formats.methods import NAMED, method

NOT_STATED = "not stated"
"""What the tool says of everything that a file leaves open."""

_LYCORIS = (
    *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
)

_PLAIN = ("dora_scale", "alpha", "diff_b", "scalar", "w_norm", "b_norm")
_WHOLE_ENDS = "|".join(re.escape(end) for end in (*_PLAIN, *(end for end in NAMED if "." in end)))
_ENDS = "|".join((*_LYCORIS, *(end for end in NAMED if "." not in end)))
_ADAPTER = r"(?:\.(?!weight$)(?P<adapter>[^.]+))?"

_SUFFIXES = (
    (re.compile(r"\.(?:(?:lora|lora_linear_layer)\.|lora_)(?P<role>down|up|mid)\.weight"), ""),
    (re.compile(rf"\.lora_A{_ADAPTER}\.weight"), "down"),
    (re.compile(rf"\.lora_B{_ADAPTER}\.weight"), "up"),
    (re.compile(rf"\.(?P<role>{_WHOLE_ENDS})"), ""),
    (re.compile(rf"\.lora_magnitude_vector{_ADAPTER}(?:\.weight)?"), "m"),
    (re.compile(rf"\.(?P<role>{_ENDS}){_ADAPTER}(?:\.weight)?"), ""),
    (re.compile(r"\.diff(?:\.weight)?"), "diff"),
    (re.compile(r"\.lora_A"), "down"),
    (re.compile(r"\.lora_B"), "up"),
)
"""How a name ends, and what the tensor is then: a role, or what the group `role` says."""

_LAST_PARTS = 4
"""The most dots from which an ending above can start."""

_OLD_PROCESSOR = re.compile(r"(.+)\.processor\.(to_[qkv]|to_out)_lora\.(down|up)\.weight")

_PARTS = (
    (
        "TE1",
        re.compile(
            r"(?:lora|lycoris|oft)_te1[_.]|text_encoder\.|(?:text_encoders\.)?clip_l\."
            r"|conditioner\.embedders\.0\."
        ),
    ),
    (
        "TE2",
        re.compile(
            r"(?:lora|lycoris|oft)_te2[_.]|text_encoder_2\.|(?:text_encoders\.)?clip_g\."
            r"|conditioner\.embedders\.1\."
        ),
    ),
    (
        "TE3",
        re.compile(r"(?:lora|lycoris|oft)_te3[_.]|text_encoder_3\.|(?:text_encoders\.)?t5xxl\."),
    ),
    (
        "TE",
        re.compile(
            r"(?:lora|lycoris|oft)_te[_.]|(?:lora_|lycoris_)?text_model[._]|cond_stage_model\."
            r"|text_encoders\.|encoder\.layers\."
        ),
    ),
    (
        "UNet",
        re.compile(
            r"(?:lora|lycoris|oft)_unet[_.]|unet\."
            r"|(?:lora_|lycoris_|oft_)?(?:diffusion_model[._])?"
            r"(?:(?:down|up|input|output)_blocks|mid_block|middle_block)[._]"
            r"|lycoris_(?:conv_in|conv_out|time_embedding|add_embedding|label_emb|time_embed)[._]?"
        ),
    ),
    (
        "transformer",
        re.compile(r"(?:lora_|lycoris_)?(?:single_)?transformer(?:_blocks)?[._]|diffusion_model\."),
    ),
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

_DOTTED = "dotted names"
_SGM, _DIFFUSERS = "original (sgm) block names", "diffusers' block names"

_STYLES = (
    (f"kohya, {_SGM}", re.compile(r"(?:lora|lycoris|oft)_unet_(?:input|output|middle)_")),
    (f"kohya, {_DIFFUSERS}", re.compile(r"(?:lora|lycoris|oft)_unet_(?:down|up|mid)_block")),
    (f"LyCORIS' wrapper, {_SGM}", re.compile(r"lycoris_(?:input|output|middle)_block")),
    (f"LyCORIS' wrapper, {_DIFFUSERS}", re.compile(r"lycoris_(?:down|up|mid)_block")),
    ("LyCORIS' wrapper", re.compile(r"lycoris_(?!unet|te\d?[_.])")),
    ("ComfyUI", re.compile(r"text_encoders\.|(?:model\.)?diffusion_model\.")),
    (
        f"{_DOTTED}, {_DIFFUSERS}",
        re.compile(r"(?:(?:lora_)?unet\.)?(?:(?:down|up)_blocks|mid_block)\."),
    ),
    (
        f"{_DOTTED}, {_SGM}",
        re.compile(r"(?:(?:lora_)?unet\.)?(?:(?:input|output)_blocks|middle_block)\."),
    ),
    (
        _DOTTED,
        re.compile(r"(?:lora_)?(?:unet|te\d?|text_encoder(?:_\d)?|transformer|text_model)\."),
    ),
)
"""Whose spelling a module's name is, where its tensors' names do not tell."""

_EMBEDDING = re.compile(r"bundle_emb\..+")
"""New words of a text encoder, as OneTrainer and A1111 keep them in an adapter's file."""


@dataclass(frozen=True)
class Module:
    """The tensors that change one weight of the model."""

    name: str
    """As the file spells it, with ` @name` behind it for a peft adapter that is not `default`."""

    tensors: Mapping[str, str]
    """Tensor's name by role: down, up, mid, alpha, m, scalar, diff, diff_b, hada_…, lokr_…."""

    unknown: tuple[str, ...] = ()
    """Tensors under its name whose role is not known."""

    @property
    def method(self) -> str:
        """LoRA, LoCon, LoHa, LoKr or full; or what is there of one that is not whole."""
        return method(frozenset(self.tensors), bool(self.unknown))

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

    embeddings: tuple[str, ...]
    """Tensors that are new words of a text encoder, by name."""

    others: tuple[str, ...]
    """Names that no trainer known here writes, by name."""

    style: str
    """Whose spelling it is; several where the file mixes them."""


def layout(names: Iterable[str]) -> Layout:
    """Sort a file's tensors by module."""
    modules: dict[str, dict[str, str]] = {}
    others, embeddings, styles = [], [], set()
    for name in sorted(names):
        if _EMBEDDING.fullmatch(name):
            embeddings.append(name)
            continue
        found = _split(name)
        if found is None or found[1] in modules.get(found[0], {}):
            others.append(name)
            continue
        module, role = found
        modules.setdefault(module, {})[role] = name
        styles.add(_style(name, module))
    beside: dict[str, list[str]] = {}
    for name in others:
        if module := next((end for end in _starts(name) if end in modules), ""):
            beside.setdefault(module, []).append(name)
    whole = tuple(
        Module(name, tensors, tuple(beside.get(name, ())))
        for name, tensors in sorted(modules.items())
    )
    told = {style for style in styles if style and not style.startswith(_DOTTED)}
    style = ", ".join(sorted(told or styles - {""})) or NOT_STATED
    return Layout(whole, tuple(embeddings), tuple(others), style)


def _starts(name: str) -> Iterator[str]:
    """A tensor's name without its last part, without the last two, and so on."""
    place = len(name)
    for _ in range(_LAST_PARTS):
        place = name.rfind(".", 0, place)
        if place <= 0:
            return
        yield name[:place]


def _split(name: str) -> tuple[str, str] | None:
    """Module and role of a tensor, if any trainer known here would write that name."""
    if old := _OLD_PROCESSOR.fullmatch(name):
        leaf = "to_out.0" if old[2] == "to_out" else old[2]
        return f"{old[1]}.{leaf}", old[3]
    for dot in [len(start) for start in _starts(name)][::-1]:
        for pattern, fixed in _SUFFIXES:
            if found := pattern.fullmatch(name, dot):
                groups = found.groupdict()
                adapter = groups.get("adapter") or "default"
                role = fixed or groups["role"].replace("dora_scale", "m")
                return name[:dot] + ("" if adapter == "default" else f" @{adapter}"), role
    return None


def _style(name: str, module: str) -> str:
    if ".processor." in name:
        return "diffusers, old attention processors"
    if ".lora_A." in name or ".lora_B." in name:
        return "peft" if name.startswith("base_model.model.") else "peft, in diffusers"
    if ".lora.up." in name or ".lora_linear_layer.up." in name:
        return "diffusers"
    return next((style for style, pattern in _STYLES if pattern.match(module)), "")
