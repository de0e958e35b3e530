"""Writing the data's hash into a recipe or params.yaml, without touching anything else there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lora_recipes.errors import UserError
from lora_recipes.files import write_bytes
from lora_recipes.pipeline import PARAMS
from lora_recipes.recipe import yamlfile
from lora_recipes.recipe.layers import chain, recipe_path

HASH = re.compile(r"sha256:[0-9a-f]{64}")


def pin(root: Path, recipe: str | None, manifest: str) -> Path:
    """Write `dataset.manifest` into a recipe, or into params.yaml if `recipe` is None.

    One value is replaced or one line added; comments, order, quotes and line ends stay.

    Args:
        root: the project's folder.
        recipe: the recipe's name.
        manifest: `sha256:<hex>`.

    Returns:
        The file that was written.

    Raises:
        UserError: the file is missing or is not YAML, or its `dataset` is written in a way that
            cannot be edited safely.
    """
    assert HASH.fullmatch(manifest), manifest
    if recipe is None:
        path, shown = root / PARAMS, PARAMS
        yamlfile.read(path, shown)
    else:
        shown = chain(root, recipe)[0].shown
        path = recipe_path(root, recipe)
    text = path.read_bytes().decode("utf-8")
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    edited = _edit(text.removeprefix(mark), manifest)
    if edited is None or _pinned(edited) != manifest:
        raise UserError.of(
            where=shown,
            what="dataset is written in a way that cannot be edited safely",
            allowed="a mapping on lines of its own, without aliases",
            fix=f"write it yourself: under `dataset:`, `  manifest: {manifest}`",
        )
    write_bytes(path, (mark + edited).encode("utf-8"))
    return path


def _edit(text: str, manifest: str) -> str | None:
    """The text with the hash in its place, or None where no place is safe."""
    end = "\r\n" if "\r\n" in text else "\n"
    node = YAML(typ="safe", pure=True).compose(text)
    dataset = _entry(node, "dataset")
    if dataset is None:
        gap = "" if not text or text.endswith("\n") else end
        return f"{text}{gap}dataset:{end}  manifest: {manifest}{end}"
    name, section = dataset
    if section.id == "scalar" and section.value in ("", "null", "~"):
        return _replace(text, name, section, f"{end}  manifest: {manifest}")
    if section.id != "mapping" or not section.value:
        return None
    manifest_entry = _entry(section, "manifest")
    if manifest_entry is not None:
        return _replace(text, *manifest_entry, f" {manifest}")
    first = section.value[0][0].start_mark
    if first.line == name.start_mark.line or first.index < name.end_mark.index:
        return None
    return (
        f"{text[: first.index]}manifest: {manifest}{end}{' ' * first.column}{text[first.index :]}"
    )


def _replace(text: str, name: Any, value: Any, new: str) -> str | None:
    """The text with a key's value replaced, from the colon on.

    DVC's experiments write a long value on a line of its own; then that line goes.
    """
    colon = text.index(":", name.end_mark.index) + 1
    start, stop = value.start_mark.index, value.end_mark.index
    if start >= stop:
        start = stop = colon  # `key:` alone: where an empty value stands is the parser's choice
    if text[colon:start].strip():
        return None
    return text[:colon] + new + text[stop:]


def _entry(node: Any, name: str) -> tuple[Any, Any] | None:
    if node is None or node.id != "mapping":
        return None
    return next(((key, value) for key, value in node.value if key.value == name), None)


def _pinned(text: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(text)["dataset"]["manifest"]
    except (YAMLError, LookupError, TypeError):
        return None
