"""What is right of a project that resolves."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import yaml

from lora_recipes import cli
from lora_recipes.adapter import metadata
from lora_recipes.formats.header import recipe_of
from lora_recipes.pipeline import TRAINED_SECTIONS
from lora_recipes.recipe.dump import dump
from lora_recipes.recipe.identity import present
from lora_recipes.recipe.load import Resolved, resolve
from lora_recipes.recipe.model import SECTIONS, plain
from lora_recipes.recipe.releases import nested, said
from lora_recipes.recipe.resolved import read_section
from tests.fuzz.property import hold, outcome

HASH = "sha256:" + "0" * 64


def hold_project(root: Path, files: dict[str, str]) -> None:
    """Validate a project; if it is right, resolve it and hold it to its own record."""
    for old in (root / "recipes").iterdir():
        old.unlink()
    for name, text in files.items():
        (root / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    validated = outcome(lambda: cli.validate(Namespace(recipe=[], strict=False), root))
    if "params.yaml: valid" in validated.printed:
        _hold_resolved(root, resolve(root))
    else:
        assert validated.value == 1 or validated.error is not None


def _hold_resolved(root: Path, resolved: Resolved) -> None:
    """resolved.yaml gives every section back, and so does an adapter's header."""
    recipe = resolved.recipe
    sections = {name: getattr(recipe, name) for name in SECTIONS}
    document = {**plain(recipe), **present(sections), "overridden": resolved.overridden}
    text = dump(document)
    hold_text(text)
    (root / "resolved.yaml").write_text(text, "utf-8")
    for name, section in sections.items():
        assert read_section(root, name, type(section)) == section
    other = yaml.load(text, yaml.CSafeLoader)  # YAML 1.1, another parser
    assert other == document
    fields = metadata.build(sections, HASH, HASH, images=1, steps=1)
    leaves = recipe_of(fields)
    trained = {key: leaves[key] for key in leaves if key.partition(".")[0] in TRAINED_SECTIONS}
    assert metadata.recipe_hash(nested(said(trained)), HASH, HASH) == fields["lora_recipes.hash"]


def hold_text(text: str) -> None:
    """A committed file is as printable as what is printed, and holds nothing of the machine."""
    hold(text)
