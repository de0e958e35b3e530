"""The captioning models that are known: what they may be asked, and their configuration's keys.

As of a base model, a key that is not in these tables does not reach a library, which would take
some as an order to fetch or run something; nor does a value of another kind than is known. A key
that is not stated has transformers' default, as transformers itself leaves such keys out; whether
the weights fit is seen when they are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lora_recipes.base.known import KnownKey
from lora_recipes.base.values import (
    FLAG,
    Each,
    Number,
    One,
    Whole,
    named,
    optional,
    shown,
)
from lora_recipes.errors import Problem, UserError, Wording
from lora_recipes.recipe.near import nearest

LEVELS = 4
"""Of Florence-2's vision tower, each half as wide and high as the one before."""

AGAIN: Wording = "fetch the file again, or choose another --model"

Keys = Mapping[str, KnownKey]


@dataclass(frozen=True)
class Family:
    """Captioning models of one architecture."""

    name: str
    model_type: str
    """As its configuration says."""

    architecture: str
    """The class of transformers."""

    sections: Mapping[str, Keys]
    """The keys of each part of the configuration; "" for its top."""

    vocabulary: tuple[str, ...]
    """Files of the tokenizer, where there is no tokenizer.json."""

    prompt: str
    """What it is asked where nothing is said; empty for nothing."""

    tasks: tuple[str, ...] = ()
    """All that it may be asked; empty: words that the caption begins with."""


def _needed(kind: Any) -> KnownKey:
    return KnownKey(kind, needed=True)


_SIZE, _COUNT, _TOKEN = Whole(1, 2**16), Whole(1, 1024), Whole(0, 2**20)
_ACTIVATION = KnownKey(One(("gelu", "quick_gelu", "gelu_new", "relu", "silu")))
_EPSILON = KnownKey(Number(1e-12, 0.1))
_ID = KnownKey(optional(_TOKEN))


def _each(kind: Any) -> KnownKey:
    return KnownKey(Each(kind, LEVELS))


_BLIP = {
    "text_config": {
        "vocab_size": KnownKey(Whole(3, 2**20)),
        "hidden_size": KnownKey(_SIZE),
        "encoder_hidden_size": KnownKey(_SIZE),
        "intermediate_size": KnownKey(_SIZE),
        "num_hidden_layers": KnownKey(_COUNT),
        "num_attention_heads": KnownKey(_COUNT),
        "max_position_embeddings": KnownKey(_SIZE),
        "hidden_act": _ACTIVATION,
        "layer_norm_eps": _EPSILON,
        "bos_token_id": _ID,
        "eos_token_id": _ID,
        "pad_token_id": _ID,
        "sep_token_id": _ID,
    },
    "vision_config": {
        "hidden_size": KnownKey(_SIZE),
        "intermediate_size": KnownKey(_SIZE),
        "num_hidden_layers": KnownKey(_COUNT),
        "num_attention_heads": KnownKey(_COUNT),
        "image_size": KnownKey(Whole(1, 4096)),
        "patch_size": KnownKey(Whole(1, 1024)),
        "hidden_act": _ACTIVATION,
        "layer_norm_eps": _EPSILON,
    },
}

_FLORENCE = {
    "": {"image_token_id": KnownKey(_TOKEN)},
    "text_config": {
        "vocab_size": KnownKey(Whole(3, 2**20)),
        "d_model": KnownKey(_SIZE),
        "encoder_layers": KnownKey(_COUNT),
        "decoder_layers": KnownKey(_COUNT),
        "encoder_attention_heads": KnownKey(_COUNT),
        "decoder_attention_heads": KnownKey(_COUNT),
        "encoder_ffn_dim": KnownKey(_SIZE),
        "decoder_ffn_dim": KnownKey(_SIZE),
        "max_position_embeddings": KnownKey(_SIZE),
        "activation_function": _ACTIVATION,
        "scale_embedding": KnownKey(FLAG),
        "bos_token_id": _ID,
        "eos_token_id": _ID,
        "pad_token_id": _ID,
        "decoder_start_token_id": _ID,
    },
    "vision_config": {
        "in_channels": KnownKey(One((3,))),
        "depths": _each(_COUNT),
        "patch_size": _each(Whole(1, 64)),
        "patch_stride": _each(Whole(1, 64)),
        "patch_padding": _each(Whole(0, 64)),
        "patch_prenorm": _each(FLAG),
        "embed_dim": _each(_SIZE),
        "num_heads": _each(_COUNT),
        "num_groups": _each(_COUNT),
        "window_size": KnownKey(Whole(1, 1024)),
        "mlp_ratio": KnownKey(Number(0.1, 100)),
        "qkv_bias": KnownKey(FLAG),
        "activation_function": _ACTIVATION,
        "projection_dim": KnownKey(_SIZE),
        "max_temporal_embeddings": KnownKey(_SIZE),
        "max_position_embeddings": KnownKey(_SIZE),
    },
}

_EDGE = Whole(1, 4096)
PREPROCESSOR: Keys = {
    "size": _needed(_EDGE),
    "resample": KnownKey(Whole(0, 5)),
    "image_mean": _needed(Each(Number(-1, 2), 3)),
    "image_std": _needed(Each(Number(1e-3, 10), 3)),
    "image_seq_length": KnownKey(Whole(1, 2**16)),
}
"""How a picture is made ready: to which size, and its channels' mean and deviation. Both families
take the whole picture as a square; `size` is its edge here, whatever form the file has."""

BLIP = Family(
    "BLIP",
    "blip",
    "BlipForConditionalGeneration",
    _BLIP,
    vocabulary=("vocab.txt",),
    prompt="",
)
FLORENCE = Family(
    "Florence-2",
    "florence2",
    "Florence2ForConditionalGeneration",
    _FLORENCE,
    vocabulary=("vocab.json", "merges.txt"),
    prompt="<DETAILED_CAPTION>",
    tasks=("<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>"),
)
FAMILIES = (BLIP, FLORENCE)
KNOWN = " or ".join(f"{family.name} ({family.architecture})" for family in FAMILIES)


def family_of(where: str, config: Mapping[str, Any]) -> Family:
    """The family of a model, by its configuration.

    Raises:
        UserError: it is of another kind, or in a form that needs code of its own.
    """
    kind = config.get("model_type")
    family = next((family for family in FAMILIES if family.model_type == kind), None)
    architectures = config.get("architectures")
    if family is None or not isinstance(architectures, list) or len(architectures) != 1:
        is_of = f"model_type = {shown(kind)}, architectures = {shown(architectures)}"
        raise _other_kind(where, f"{is_of}: no captioning model that is known here")
    vision = config.get("vision_config")
    of_its_own = isinstance(vision, dict) and vision.get("model_type") == "davit"
    if "auto_map" in config or of_its_own:
        raise UserError.of(
            where=where,
            what=f"a {family.name} that comes with code of its own, which is never run here",
            fix="take the same weights in transformers' own form: for microsoft/Florence-2-base, "
            "florence-community/Florence-2-base",
        )
    if architectures != [family.architecture]:
        raise _other_kind(where, f"a {family.name} for another task: {named(architectures[0])}")
    return family


def checked_prompt(family: Family, prompt: str | None) -> str:
    """What the model is asked, or the words that its captions begin with.

    Raises:
        UserError: it knows no such task.
    """
    if prompt is None:
        return family.prompt
    if family.tasks and prompt not in family.tasks:
        near = nearest(prompt.strip("<> ").upper(), [task.strip("<>") for task in family.tasks])
        raise UserError.of(
            what=f"--prompt = {prompt}: {family.name} is asked by one of its tasks",
            allowed=", ".join(family.tasks),
            fix=f'did you mean "<{near}>"?' if near else f'write "{family.prompt}", with quotes',
        )
    return " ".join(prompt.split())


def understood(family: Family, where: str, config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the library may see of a configuration: known keys with values that make sense.

    Raises:
        UserError: all that is missing or makes no sense.
    """
    seen: dict[str, dict[str, Any]] = {}
    problems: list[Problem] = []
    for section, keys in family.sections.items():
        given = config.get(section, {}) if section else config
        if not isinstance(given, dict):
            problems += [_unlike(where, section, given, "an object")]
            continue
        prefix = f"{section}." if section else ""
        problems += list(problems_of(where, prefix, given, keys))
        seen[section] = {key: given[key] for key in keys if key in given}
    if problems:
        raise UserError(problems)
    return seen


def problems_of(where: str, prefix: str, given: Mapping[str, Any], keys: Keys) -> Iterator[Problem]:
    """What is missing or makes no sense among some keys of a configuration."""
    for name, key in keys.items():
        if name not in given and key.needed:
            yield Problem(f"{name} is not stated", AGAIN, str(key.kind), where)
        elif name in given and not key.kind.admits(given[name]):
            yield _unlike(where, f"{prefix}{name}", given[name], str(key.kind))


def _unlike(where: str, key: str, value: Any, allowed: str) -> Problem:
    return Problem(f"{key} = {shown(value)}", AGAIN, allowed, where)


def _other_kind(where: str, what: str) -> UserError:
    return UserError.of(where=where, what=what, allowed=KNOWN, fix="choose another --model")
