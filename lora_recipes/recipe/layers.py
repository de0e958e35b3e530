"""The files that a recipe is made of: itself, and what it extends."""

from __future__ import annotations

from pathlib import Path

from lora_recipes.errors import Place, Problem, UserError
from lora_recipes.recipe import yamlfile
from lora_recipes.recipe.fields import show
from lora_recipes.recipe.near import did_you_mean
from lora_recipes.recipe.yamlfile import Source
from lora_recipes.text import first_few

FOLDER = "recipes"
"""Where recipes stand, in the project's folder."""

MOST_NAMED = 50
"""Recipes that a message names."""


def recipe_names(root: Path) -> list[str]:
    """The names of all recipes of a project, sorted."""
    return sorted(path.stem for path in (root / FOLDER).glob("*.yaml"))


def recipe_path(root: Path, name: str) -> Path:
    """The file of a recipe."""
    return root / FOLDER / f"{name}.yaml"


def chain(root: Path, name: str, where: Place | str = "", asked: str = "") -> list[Source]:
    """A recipe's file and, after it, each file that the one before extends.

    Args:
        root: the project's folder.
        name: the recipe.
        where: the place that asked for it, for messages.
        asked: what stands there, `recipe = x`.

    Raises:
        UserError: a file is missing or is not YAML, or the files extend one another in a ring.
    """
    sources: list[Source] = []
    names: list[str] = []
    while name != "none":
        if name in names:
            ring = [*names[names.index(name) :], name]
            raise UserError.of(
                where=where,
                what=f"{asked} closes a ring: {' → '.join(ring)}",
                allowed="a recipe that does not extend this one, directly or through others",
                fix="remove one of these `extends`",
            )
        source = _read(root, name, where, asked)
        sources.append(source)
        names.append(name)
        parent = source.data.get("extends", "none")
        if not isinstance(parent, str):
            break  # the check of the file's structure says what is wrong
        where, asked, name = source.where(("extends",)), f"extends = {show(parent)}", parent
    return sources


def in_file_order(problems: list[Problem], sources: list[Source]) -> list[Problem]:
    """Problems sorted by file (params.yaml, the recipe, what it extends) and line, none twice."""
    ranks = {source.shown: rank for rank, source in enumerate(sources)}

    def place(problem: Problem) -> tuple[int, int]:
        where = problem.where if isinstance(problem.where, Place) else Place(problem.where)
        return ranks.get(where.file, len(ranks)), where.line

    return sorted(dict.fromkeys(problems), key=place)


def _read(root: Path, name: str, where: Place | str, asked: str) -> Source:
    known = recipe_names(root)
    if name not in known:
        own = f"{FOLDER}/{show(name)}.yaml"
        raise UserError.of(
            where=where,
            what=asked or f"there is no recipe {show(name)}",
            allowed="one of " + first_few(known, MOST_NAMED) if known else f"a file in {FOLDER}/",
            fix=did_you_mean(name, known, f"choose one of these, or write {own}"),
        )
    return yamlfile.read(recipe_path(root, name), f"{FOLDER}/{name}.yaml")
