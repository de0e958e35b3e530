"""From files to a valid recipe, or to everything that is wrong with them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lora_recipes.errors import Place, Problem, UserError
from lora_recipes.pipeline import PARAMS
from lora_recipes.recipe import yamlfile
from lora_recipes.recipe.fields import overridable_keys, show
from lora_recipes.recipe.layers import FOLDER, chain, in_file_order, recipe_path
from lora_recipes.recipe.merge import Merged, merge, merge_runtime
from lora_recipes.recipe.model import SECTIONS, Recipe
from lora_recipes.recipe.processes import place_of_processes, problem_of_processes
from lora_recipes.recipe.rule import Level, Moment
from lora_recipes.recipe.rules import broken
from lora_recipes.recipe.sections.params import Params
from lora_recipes.recipe.structure import Checked, check_params, check_recipe
from lora_recipes.recipe.values import outside_advised, validate, without
from lora_recipes.recipe.yamlfile import Key, Source, dotted, names_only
from lora_recipes.tree import flat


@dataclass(frozen=True)
class Loaded:
    """A valid recipe by itself, without params.yaml."""

    recipe: Recipe
    path: Path
    warnings: tuple[Problem, ...]
    where: Callable[[str], Place]
    """The place of a dotted key; the recipe's file where no line sets it."""

    values: dict[str, Any]
    """Merged and interpolated, as plain values."""


@dataclass(frozen=True)
class Resolved:
    """A valid recipe with params.yaml laid over it: what a run does."""

    recipe: Recipe
    params: Params
    overridden: dict[str, Any]
    """Dotted keys whose value is not the recipe's own, with the recipe's own value."""

    warnings: tuple[Problem, ...]
    where: Callable[[str], Place]
    """The place of a dotted key; the recipe's file where no line sets it."""


@dataclass
class _Built:
    """What became of some layers: a recipe if all is well, problems, warnings."""

    recipe: Recipe | None
    merged: Merged
    problems: list[Problem]
    warnings: list[Problem]
    where: Callable[[Key], Place]


def load_recipe(root: Path, name: str, *, strict: bool = False) -> Loaded:
    """Read `recipes/<name>.yaml` with what it extends.

    Args:
        root: the project's folder.
        name: the recipe, without `.yaml`.
        strict: warnings are errors.

    Raises:
        UserError: all problems of the recipe, in file order.
    """
    layers = _recipe_layers(chain(root, name))
    built = _build(root, layers, "recipe")
    _stop_at(built.problems, built.warnings, [layer.source for layer in layers], strict)
    assert built.recipe is not None
    return Loaded(
        built.recipe,
        recipe_path(root, name),
        tuple(in_file_order(built.warnings, [layer.source for layer in layers])),
        _by_name(built.where),
        built.merged.values,
    )


def validate_recipe(root: Path, name: str, *, strict: bool = False) -> list[Problem]:
    """The warnings of a recipe by itself; its errors are raised as by `load_recipe`."""
    return list(load_recipe(root, name, strict=strict).warnings)


def resolve(root: Path, *, strict: bool = False) -> Resolved:
    """Read params.yaml and its recipe, and lay the one over the other.

    Args:
        root: the folder that holds params.yaml.
        strict: warnings are errors.

    Raises:
        UserError: all problems of both, in file order.
    """
    checked = check_params(yamlfile.read(root / PARAMS, PARAMS))
    params, problems, known = _params(checked)
    sources = [checked.source]
    if not known:
        raise UserError(in_file_order([*problems, *_problems_of_overrides(checked)], sources))
    recipe = checked.data["recipe"]
    where = checked.source.where(("recipe",))
    try:
        own = _recipe_layers(chain(root, recipe, where, f"recipe = {show(recipe)}"))
    except UserError as error:
        problems += [*_problems_of_overrides(checked), *error.problems]
        raise UserError(in_file_order(problems, sources)) from error
    sources += [layer.source for layer in own]
    built = _build(root, [_overrides(checked), *own], "run")
    problems += _unequal_parts(checked, params, built.recipe)
    _stop_at([*problems, *built.problems], built.warnings, sources, strict)
    assert built.recipe is not None
    assert params is not None
    return Resolved(
        recipe=built.recipe,
        params=params,
        overridden=_overridden(merge(own).values, built.merged.values),
        warnings=tuple(in_file_order(built.warnings, sources)),
        where=_by_name(built.where),
    )


def _recipe_layers(sources: list[Source]) -> list[Checked]:
    return [check_recipe(source, Path(source.shown).stem) for source in sources]


def _overrides(params: Checked) -> Checked:
    sections = {name: value for name, value in params.data.items() if name in SECTIONS}
    return Checked(params.source, sections, params.problems)


def _build(root: Path, layers: list[Checked], moment: Moment) -> _Built:
    merged = merge(layers)
    own = next(layer.source for layer in layers if layer.source.shown.startswith(FOLDER))

    def where(key: Key) -> Place:
        return merged.where(key) or Place(own.shown)

    recipe, wrong = validate(Recipe, merged.values, where, merged.raw)
    looked_at = recipe or without(merged.values, wrong)
    bad = {dotted(names_only(key)) for key in wrong}.union(merged.bad(), *(it.bad for it in layers))

    def found(level: Level) -> Iterator[Problem]:
        at_run = layers[0].source.where
        rules = broken(
            looked_at, root, merged.where, level=level, moment=moment, at_run=at_run, bad=bad
        )
        return (replace(problem, where=problem.where or Place(own.shown)) for problem in rules)

    return _Built(
        recipe=recipe,
        merged=merged,
        problems=[
            *(problem for layer in layers for problem in layer.problems),
            *merged.problems(),
            *wrong.values(),
            *found("error"),
        ],
        warnings=[
            *found("warning"),
            *outside_advised(looked_at, where),
        ],
        where=where,
    )


def _params(checked: Checked) -> tuple[Params | None, list[Problem], bool]:
    """What params.yaml says beside overrides, its problems, and whether recipe and data stand."""
    merged = merge_runtime(checked)
    own = {name: value for name, value in merged.values.items() if name not in SECTIONS}
    params, wrong = validate(Params, own, checked.source.where, merged.raw)
    problems = [*checked.problems, *merged.problems(), *wrong.values()]
    return params, problems, ("recipe",) not in wrong and ("data",) not in wrong


def _problems_of_overrides(checked: Checked) -> list[Problem]:
    """What is wrong with overrides, as far as it shows without their recipe."""
    merged = merge([_overrides(checked)])
    _, wrong = validate(Recipe, merged.values, checked.source.where, merged.raw)
    return [*merged.problems(), *wrong.values()]


def _unequal_parts(checked: Checked, params: Params | None, recipe: Recipe | None) -> list[Problem]:
    """The one rule between `runtime` and a recipe."""
    if params is None or recipe is None:
        return []
    runtime = params.runtime
    problem = problem_of_processes(
        recipe.train.gradient_accumulation,
        runtime.processes,
        runtime.nodes,
        where=place_of_processes(checked.source, runtime),
    )
    return [problem] if problem else []


def _stop_at(
    problems: list[Problem], warnings: list[Problem], sources: list[Source], strict: bool
) -> None:
    every = problems + (warnings if strict else [])
    if every:
        raise UserError(in_file_order(every, sources))


def _overridden(own: dict[str, Any], final: dict[str, Any]) -> dict[str, Any]:
    before, after = flat(own), flat(final)
    keys = overridable_keys()
    return {key: before.get(key) for key in keys if before.get(key) != after.get(key)}


def _by_name(where: Callable[[Key], Place]) -> Callable[[str], Place]:
    return lambda name: where(tuple(name.split(".")))
