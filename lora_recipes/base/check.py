"""Whether a base model is known to be trained right, before anything is encoded. Needs no torch.

Only small files are read: configurations and the headers of the weights. What is not known to be
right is refused, with file and key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from lora_recipes.base import single_file
from lora_recipes.base.components import CONFIGS, WEIGHT_STEMS, Component, Located
from lora_recipes.base.facts import problems_of_key, problems_of_scheduler
from lora_recipes.base.fit import OLD_VAE_NAMES, misfits, no_floats
from lora_recipes.base.folder import read_json
from lora_recipes.base.known import CONFIGURATIONS, DEFAULTS, UP
from lora_recipes.base.locate import locate
from lora_recipes.base.original import original
from lora_recipes.base.shapes import weights
from lora_recipes.base.statements import agreed_prediction
from lora_recipes.base.values import mismatch, shown
from lora_recipes.base.vocabulary import problems_of_tokenizers
from lora_recipes.errors import Problem, UserError
from lora_recipes.recipe.sections.base import Base
from lora_recipes.tensors import Entry, read_header

TIME_IDS = 6
"""Numbers of size and crop that SDXL's UNet is told, each as an embedding of its own."""


def refuse_unknown(located: Located) -> None:
    """Refuse what is not known to be trained right.

    Raises:
        UserError: all of what is wrong, with file and key.
    """
    problems = problems_of(located)
    if problems:
        raise UserError(problems)


def problems_of_base(path: Path) -> list[Problem]:
    """What is wrong with a folder or a checkpoint as a base model; empty if nothing is.

    Nothing is fetched: a checkpoint's tokenizers, which are not in it, are not looked at.
    """
    try:
        if path.is_file():
            parts = single_file.locate_checkpoint(path, own_vae=True)
            scheduler = Component(CONFIGS / "scheduler")
            return problems_of(Located("file", str(path), {**parts, "scheduler": scheduler}))
        return problems_of(locate(Base(model=str(path.absolute())), path, download=False))
    except UserError as error:
        return list(error.problems)


def problems_of(located: Located) -> list[Problem]:
    """The same for a model whose files are all there, or as many of its parts as are.

    What two looks find is told once.
    """
    try:
        found = list(_problems(located.components))
        if not found and {"scheduler", "unet"} <= located.components.keys():
            agreed_prediction(located)
    except UserError as error:
        found = list(error.problems)
    return list(dict.fromkeys(found))


def _problems(parts: Mapping[str, Component]) -> Iterator[Problem]:
    configs = {name: read_json(parts[name].config / "config.json") for name in _with_weights(parts)}
    wrong = {name: list(_problems_of_config(name, parts[name], configs[name])) for name in configs}
    yield from chain.from_iterable(wrong.values())
    if "scheduler" in parts:
        file = parts["scheduler"].config / "scheduler_config.json"
        yield from problems_of_scheduler(str(file), read_json(file))
    if not any(wrong.values()):
        whole = {name: {**DEFAULTS[name], **config} for name, config in configs.items()}
        yield from _problems_between(parts, whole)
        yield from problems_of_tokenizers(parts, whole)
    for name, config in configs.items():
        if not wrong[name] and parts[name].weights:
            yield from _problems_of_weights(name, parts[name], config)
    yield from _problems_of_index(parts)


def _with_weights(parts: Mapping[str, Component]) -> list[str]:
    return [name for name in WEIGHT_STEMS if name in parts]


def _problems_of_config(
    name: str, component: Component, config: Mapping[str, Any]
) -> Iterator[Problem]:
    """Each key by itself, and then the numbers that have to divide one another."""
    where = str(component.config / "config.json")
    found = [
        problem
        for key, known in CONFIGURATIONS[name].items()
        for problem in problems_of_key(where, config, key, known)
    ]
    yield from found
    if found:
        return
    whole = {**DEFAULTS[name], **config}
    if name.startswith("text"):
        divisions = [("hidden_size", "num_attention_heads", [whole["hidden_size"]])]
    else:
        divisions = [("block_out_channels", "norm_num_groups", whole["block_out_channels"])]
    if name == "unet":
        divisions.append(("block_out_channels", "attention_head_dim", whole["block_out_channels"]))
        mirrored = [UP[kind] for kind in reversed(whole["down_block_types"])]
        if whole["up_block_types"] != mirrored:
            yield mismatch(where, "up_block_types", whole["up_block_types"], shown(mirrored))
    for key, by, values in divisions:
        parts = whole[by] if isinstance(whole[by], list) else [whole[by]] * len(values)
        if any(value % part for value, part in zip(values, parts, strict=True)):
            yield mismatch(where, key, whole[key], f"multiples of {by}, {shown(whole[by])}")


def _problems_between(
    parts: Mapping[str, Component], configs: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    """The sizes in which two parts have to agree, each part's own being sound."""
    unet, vae = configs.get("unet"), configs.get("vae")
    text, text_2 = configs.get("text_encoder"), configs.get("text_encoder_2")
    if not unet:
        return
    where = str(parts["unet"].config / "config.json")
    sizes = [("out_channels", unet["in_channels"], "in_channels")]
    if vae:
        sizes.append(("in_channels", vae["latent_channels"], "the VAE's latent_channels"))
    if text and text_2:
        both = text["hidden_size"] + text_2["hidden_size"]
        sizes.append(("cross_attention_dim", both, "both text encoders' hidden_size together"))
        added = text_2["projection_dim"] + TIME_IDS * unet["addition_time_embed_dim"]
        sizes.append(
            (
                "projection_class_embeddings_input_dim",
                added,
                "text_encoder_2's projection_dim and 6 times addition_time_embed_dim",
            )
        )
    for key, size, what in sizes:
        if unet[key] != size:
            yield mismatch(where, key, unet[key], f"{size}, as {what}")


def _problems_of_weights(
    name: str, component: Component, config: Mapping[str, Any]
) -> Iterator[Problem]:
    """The names, the shapes and the kinds of numbers, from the headers alone."""
    first = component.weights[0]
    found: dict[str, Entry] = {}
    for path in component.weights:
        entries = single_file.entries_of(read_header(path).entries, component, name)
        if twice := sorted(found.keys() & entries.keys()):
            yield Problem(
                where=str(path),
                what=f"holds {shown(twice[0])}, which another file of the {name} holds too",
                fix="fetch the model again, or choose another base.model",
            )
        found |= entries
    plain = weights(name, config)
    wanted = {key: (shape,) for key, shape in plain.items()}
    if component.layout == "original":
        wanted = original(name, plain)
    found = {_today(key, name): entry for key, entry in found.items()}
    if name == "text_encoder_2" and component.layout == "original":  # logit_scale and the like
        found = {k: v for k, v in found.items() if k in wanted or k.startswith("transformer.")}
    yield from misfits(first, name, wanted, {key: entry.shape for key, entry in found.items()})
    yield from no_floats(first, name, {key: entry.dtype for key, entry in found.items()})


def _today(key: str, name: str) -> str:
    """Today's name of a weight that an older library wrote."""
    if name == "vae":
        for old, new in OLD_VAE_NAMES.items():
            key = key.replace(old, new)
    return key.removeprefix("text_model.") if name.startswith("text") else key


def _problems_of_index(parts: Mapping[str, Component]) -> Iterator[Problem]:
    """What drawing needs to know of `model_index.json`."""
    if "unet" not in parts:
        return
    index = parts["unet"].config.parent / "model_index.json"
    value = read_json(index).get("force_zeros_for_empty_prompt", True) if index.is_file() else True
    if not isinstance(value, bool):
        yield mismatch(str(index), "force_zeros_for_empty_prompt", value, "true or false")
