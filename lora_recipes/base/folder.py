"""Finding a model's parts in a diffusers folder, and saying what is missing. Needs no torch."""

from __future__ import annotations

import json
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_recipes.base.components import TOKENIZERS, WEIGHT_STEMS, Component
from lora_recipes.base.values import named, shown
from lora_recipes.errors import Problem, UserError, Wording
from lora_recipes.tensors import read_header
from lora_recipes.tree import SaidTwice, is_deeper, once

PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
"""Files that run code when they are opened."""

LARGEST_JSON = 64 * 2**20
"""Bytes of a configuration, an index of shards or a vocabulary; SDXL's largest has 3.6 MB."""

TOO_LARGE: Wording = f"has more than {LARGEST_JSON:,} bytes, too many for what it is"

MOST_SHARDS = 100
"""Files of one part; SDXL's UNet comes in one, two or three."""

LONGEST_PATH = 4096
"""Letters of a path that a message shows."""

DEEPEST_JSON = 32
"""Lists and objects inside one another. A configuration has 3, a tokenizer 7."""

SHARD = re.compile(r"[A-Za-z0-9_][\w.-]{0,200}\.safetensors", re.ASCII)
"""What a shard may be called: no separators, no hidden files."""

STORES = re.compile(r"/models--[^/]+/blobs/|/files/md5/[0-9a-f]{2}/")
"""Where the hub's cache and DVC's keep the files that links of theirs lead to."""


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
        for path in component.files:
            if path in component.weights:
                read_header(path)
            elif path.stat().st_size > LARGEST_JSON:  # a vocabulary that would be hashed for hours
                raise _no_json(path, TOO_LARGE)
    if (folder / "model_index.json").is_file():
        _check_is_sdxl(folder, key)


def read_json(path: Path) -> dict[str, Any]:
    """A configuration file.

    Raises:
        UserError: it cannot be read, is not a JSON object, says a key twice, or is too large or
            too deep to be a configuration.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _no_json(path, "is not a file")
        if found.st_size > LARGEST_JSON:
            raise _no_json(path, TOO_LARGE)
        value = json.loads(path.read_text("utf-8"), object_pairs_hook=once)
        deep = is_deeper(value, DEEPEST_JSON)
    except SaidTwice as error:
        raise _no_json(path, f"says {shown(str(error))} twice") from error
    except OSError as error:
        raise _no_json(path, f"cannot be read: {error.strerror or error}") from error
    except ValueError:
        value, deep = None, False
    except RecursionError:
        deep = True
    if deep:
        raise _no_json(path, f"has more than {DEEPEST_JSON} lists and objects inside one another")
    if not isinstance(value, dict):
        raise _no_json(path, "is not a JSON object")
    return value


def _no_json(path: Path, what: str) -> UserError:
    return UserError.of(where=str(path), what=what, fix="fetch the file again")


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
                shards = _shards(index)
                lost = [shard for shard in shards if not (home / shard).is_file()]
                return tuple(home / shard for shard in shards), lost
    return (), []


def _shards(index: Path) -> list[str]:
    """The files that an index of shards names, each once.

    Raises:
        UserError: it names none, or one that does not lie beside it.
    """
    weights = read_json(index).get("weight_map")
    if not isinstance(weights, dict) or not weights:
        raise _wrong_shard(index, f"weight_map = {shown(weights)}")
    for key, shard in weights.items():
        if not (isinstance(shard, str) and SHARD.fullmatch(shard)):
            raise _wrong_shard(index, f"weight_map: {named(key)} = {shown(shard)}")
    shards = sorted(set(weights.values()))
    if len(shards) > MOST_SHARDS:
        raise _wrong_shard(index, f"weight_map names {len(shards):,} files")
    for shard in shards:
        if (target := _leads_to(index.parent, shard)) is not None:
            raise _wrong_shard(
                index, f"weight_map: {shard} is a link to {shown(str(target), LONGEST_PATH)}"
            )
    return shards


def _leads_to(home: Path, name: str) -> Path | None:
    """Where a link leads that leaves its folder, unless that is a store of the hub or of DVC."""
    if not (home / name).is_symlink():
        return None
    try:
        target = (home / name).resolve()
    except (OSError, RuntimeError):  # a ring of links
        return home / name
    inside = target.is_relative_to(home.resolve()) or STORES.search(target.as_posix())
    return None if inside else target


def _wrong_shard(index: Path, what: str) -> UserError:
    return UserError.of(
        where=str(index),
        what=what,
        allowed="names of .safetensors files in the same folder, one for each weight",
        fix="fetch the model again, or choose another base.model",
    )


def _name_of(index: dict[str, Any]) -> str:
    return named(index.get("_class_name", "model"))


def _check_is_sdxl(folder: Path, key: str) -> None:
    index = read_json(folder / "model_index.json")
    unet = read_json(folder / "unet/config.json")
    if unet.get("addition_embed_type") != "text_time":
        kind = f"a {_name_of(index)}, not SDXL"
    elif unet.get("in_channels") != unet.get("out_channels"):
        kind = (
            f"an SDXL for inpainting or editing ({shown(unet.get('in_channels'))} input channels)"
        )
    else:
        return
    raise UserError.of(
        where=str(folder),
        what=f"holds {kind}",
        fix=f"set {key} to a text-to-image SDXL model",
    )
