"""Finding a model's parts in a diffusers folder, and saying what is missing. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_recipes.base.components import TOKENIZERS, WEIGHT_STEMS, Component
from lora_recipes.errors import Problem, UserError
from lora_recipes.tensors import read_header

PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
"""Files that run code when they are opened."""


@dataclass
class Search:
    """What was found in a folder, and what was not."""

    components: dict[str, Component] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    pickles: list[str] = field(default_factory=list)


def search_model(folder: Path) -> Search:
    """Look for a whole SDXL model."""
    search = Search()
    if not (folder / "model_index.json").is_file():
        search.missing.append("model_index.json")
    for name in WEIGHT_STEMS:
        search_weights(search, folder, name)
    for name in TOKENIZERS:
        search_tokenizer(search, folder, name)
    if (folder / "scheduler/scheduler_config.json").is_file():
        search.components["scheduler"] = Component(folder / "scheduler")
    else:
        search.missing.append("scheduler/scheduler_config.json")
    return search


def search_weights(search: Search, folder: Path, name: str, inside: str | None = None) -> None:
    """Look for one part with weights, in the sub-folder of its name or in `inside`."""
    place = name if inside is None else inside
    home = folder / place
    stem = WEIGHT_STEMS[name]
    label = f"{place}/" if place else ""
    missing = [] if (home / "config.json").is_file() else [f"{label}config.json"]
    weights, lost = _weights(home, stem)
    missing += [f"{label}{file}" for file in lost]
    if not weights and not lost:
        pickles = sorted(
            path.name for path in home.glob("*") if path.suffix in PICKLES and path.is_file()
        )
        search.pickles += [f"{label}{file}" for file in pickles]
        missing += [] if pickles else [f"{label}{stem}.safetensors"]
    search.missing += missing
    if not missing:
        search.components[name] = Component(home, weights)


def search_tokenizer(search: Search, folder: Path, name: str) -> None:
    """Look for one tokenizer: `tokenizer.json`, or `vocab.json` with `merges.txt`."""
    home = folder / name
    pair = ("vocab.json", "merges.txt")
    missing = [f"{name}/{file}" for file in pair if not (home / file).is_file()]
    if missing and not (home / "tokenizer.json").is_file():
        search.missing += missing
    else:
        search.components[name] = Component(home)


def check(folder: Path, search: Search, key: str) -> None:
    """Refuse pickles, unfinished downloads, damaged files and models that are not SDXL.

    Raises:
        UserError: all of what is wrong, `key` being the recipe's key that named the folder.
    """
    problems = []
    if search.pickles:
        problems.append(
            Problem(
                where=str(folder),
                what=f"holds weights only as pickles, which can run code: "
                f"{', '.join(search.pickles)}",
                fix=f"fetch the .safetensors files of this model, or choose another {key}",
            )
        )
    if search.missing:
        problems.append(
            Problem(
                where=str(folder),
                what="is not complete; missing:"
                + "".join(f"\n    {name}" for name in search.missing),
                fix=f"fetch the missing files into this folder, or choose another {key}",
            )
        )
    if problems:
        raise UserError(problems)
    for component in search.components.values():
        for path in component.weights:
            read_header(path)
    if (folder / "model_index.json").is_file():
        _check_is_sdxl(folder, key)


def read_json(path: Path) -> dict[str, Any]:
    """A configuration file.

    Raises:
        UserError: it is not a JSON object.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UserError(
            Problem(where=str(path), what="is not a JSON object", fix="fetch the file again")
        )
    return value


def _weights(home: Path, stem: str) -> tuple[tuple[Path, ...], list[str]]:
    """The weights' files, whole precision before fp16, and the shards that are missing."""
    for variant in ("", ".fp16"):
        if (whole := home / f"{stem}{variant}.safetensors").is_file():
            return (whole,), []
        # diffusers and transformers put the variant in different places of the index's name.
        for name in (
            f"{stem}.safetensors.index{variant}.json",
            f"{stem}{variant}.safetensors.index.json",
        ):
            if (index := home / name).is_file():
                shards = sorted(set(read_json(index).get("weight_map", {}).values()))
                lost = [shard for shard in shards if not (home / shard).is_file()]
                return tuple(home / shard for shard in shards), lost
    return (), []


def _check_is_sdxl(folder: Path, key: str) -> None:
    index = read_json(folder / "model_index.json")
    unet = read_json(folder / "unet/config.json")
    if unet.get("addition_embed_type") != "text_time":
        kind = f"a {index.get('_class_name', 'model')}, not SDXL"
    elif unet.get("in_channels") != unet.get("out_channels"):
        kind = f"an SDXL for inpainting or editing ({unet.get('in_channels')} input channels)"
    else:
        return
    raise UserError(
        Problem(
            where=str(folder),
            what=f"holds {kind}",
            fix=f"set {key} to a text-to-image SDXL model",
        )
    )
