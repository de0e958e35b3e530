"""From `--model` to a captioning model's files on this machine. No torch, no code of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_recipes.base import folder as folders
from lora_recipes.base import hub
from lora_recipes.base.folder import Search, read_json
from lora_recipes.caption.families import (
    FAMILIES,
    PREPROCESSOR,
    Family,
    family_of,
    problems_of,
    understood,
)
from lora_recipes.errors import UserError
from lora_recipes.recipe.hub_id import can_be_a_path, is_hub_id

KEY = "--model"
COMMIT = re.compile(r"[0-9a-f]{40}")
PART = "text_encoder"
"""Whose weights are called as those of every model of transformers: `model.safetensors`."""

PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")
"""Where it stands how a picture is made ready: the second, or within it, from transformers 5 on."""

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
             "added_tokens.json")  # fmt: skip


@dataclass(frozen=True)
class CaptionModel:
    """A captioning model whose files are all there."""

    name: str
    """As it was asked for, with the commit of a Hugging Face id."""

    family: Family
    folder: Path
    weights: tuple[Path, ...]
    config: dict[str, dict[str, Any]]
    """Each part's known keys."""

    pictures: dict[str, Any]
    """How a picture is made ready: the known keys, `size` as the edge of a square."""


def peek(model: str, revision: str, root: Path) -> Family:
    """The family of a model, before its weights are fetched: of a Hugging Face id, from one file.

    Raises:
        UserError: no such folder, an id without a commit, another kind of model; or files are
            missing and cannot be fetched: all of them, and where to put them.
    """
    try:
        place, _ = _find(model, revision, root, ["config.json"], _look_for_config)
    except UserError:
        # Nobody should hear of one missing file first and of the others later
        patterns = [name for family in FAMILIES for name in _patterns(family)]
        _find(model, revision, root, patterns, _look_for(FAMILIES[0]))
        raise
    return family_of(str(place / "config.json"), read_json(place / "config.json"))


def locate_captioner(model: str, revision: str, root: Path, family: Family) -> CaptionModel:
    """Find every file of a captioning model; what is missing of a Hugging Face id is fetched.

    Raises:
        UserError: files are missing, damaged or pickles, or a configuration is not understood.
    """
    place, search = _find(model, revision, root, _patterns(family), _look_for(family))
    folders.check(place, search, KEY)
    file = place / "config.json"
    is_hub = is_hub_id(model, root)
    return CaptionModel(
        f"{model}@{revision}" if is_hub else model,
        family,
        place,
        search.components[PART].weights,
        understood(family, str(file), read_json(file)),
        _pictures(place),
    )


def _find(
    model: str,
    revision: str,
    root: Path,
    patterns: Sequence[str],
    look: Callable[[Path], Search],
) -> tuple[Path, Search]:
    place = root / Path(model).expanduser() if can_be_a_path(model, root) else None
    if place is not None and place.is_dir():
        search = look(place)
        folders.check(place, search, KEY)
        return place, search
    if place is None or place.exists() or not is_hub_id(model, root):
        why = "is a file, not a folder" if place and place.exists() else f"there is no {place}"
        raise UserError.of(
            what=f"{KEY} = {model[:300]}: {why if place else 'no folder can be called that'}",
            allowed="a Hugging Face id (owner/name) with --revision, or a folder",
            fix="correct the name or the path",
        )
    if not COMMIT.fullmatch(revision):
        said = f"--revision = {revision}" if revision != "none" else "no commit is named"
        raise UserError.of(
            what=f"{KEY} = {model}: {said}, so its content could change",
            allowed="40 hex digits: a commit",
            fix="copy it from the model's page, Files and versions, History: --revision <commit>",
        )
    return hub.find(KEY, model, revision, patterns, look, download=True)


def _look_for_config(place: Path) -> Search:
    missing = [] if (place / "config.json").is_file() else ["config.json"]
    return Search(missing=missing)


def _look_for(family: Family) -> Callable[[Path], Search]:
    def look(place: Path) -> Search:
        search = Search()
        folders.search_weights(search, place, PART, inside="")
        lost = [name for name in family.vocabulary if not (place / name).is_file()]
        if lost and not (place / "tokenizer.json").is_file():
            search.missing.append("tokenizer.json")
        if not any((place / name).is_file() for name in PREPROCESSORS):
            search.missing.append(PREPROCESSORS[0])
        return search

    return look


def _patterns(family: Family) -> list[str]:
    weights = hub.weight_patterns(PART, inside="")
    return [*weights, *PREPROCESSORS, *TOKENIZER, *family.vocabulary]


def _pictures(place: Path) -> dict[str, Any]:
    """How a picture is made ready, from whichever file says so.

    Raises:
        UserError: the pictures would be no squares, or a number makes no sense.
    """
    for name in PREPROCESSORS:
        if not (place / name).is_file():
            continue
        given = read_json(place / name)
        given = given.get("image_processor", given)
        if not isinstance(given, dict) or "size" not in given:
            continue
        seen = {key: given[key] for key in PREPROCESSOR if key in given}
        seen["size"] = _edge(seen["size"])
        if problems := list(problems_of(str(place / name), "", seen, PREPROCESSOR)):
            raise UserError(problems)
        return seen
    raise UserError.of(
        where=str(place),
        what="no file says how pictures are made ready",
        fix="fetch preprocessor_config.json again, or choose another --model",
    )


def _edge(size: Any) -> Any:
    """The edge of a square, from `{"height": 384, "width": 384}` or one number."""
    if isinstance(size, dict) and set(size) == {"height", "width"}:
        return size["height"] if size["height"] == size["width"] else size
    return size
