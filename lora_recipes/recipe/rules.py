"""All rules between keys, and checking them. They fire before any model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lora_recipes.errors import Place, Problem
from lora_recipes.pipeline import PARAMS
from lora_recipes.recipe import belonging, rules_base, rules_data, rules_train
from lora_recipes.recipe.fields import show
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.rule import Finding, Level, Moment, Rule
from lora_recipes.recipe.values import value_of
from lora_recipes.recipe.yamlfile import Key, dotted

_DECLARED = [*vars(rules_base).values(), *vars(rules_data).values(), *vars(rules_train).values()]

RULES: tuple[Rule, ...] = tuple(
    sorted(
        [*belonging.rules(), *(it for it in _DECLARED if isinstance(it, Rule))],
        key=lambda rule: rule.id,
    )
)
"""Every rule, by id."""


def broken(
    recipe: Recipe,
    root: Path,
    where: Callable[[Key], Place | None],
    *,
    level: Level,
    moment: Moment,
    at_run: Callable[[Key], Place] | None = None,
    bad: Iterable[str] = (),
) -> Iterator[Problem]:
    """A problem for each rule that a recipe breaks.

    Args:
        recipe: a valid recipe.
        root: the project's folder, to tell local models from Hugging Face ids.
        where: finds the place of a key; None where no file sets it.
        level: errors or warnings.
        moment: `recipe` for a recipe by itself, `run` for one that params.yaml completed.
        at_run: finds the place in params.yaml, where what a recipe left to its user is mended.
        bad: dotted keys with problems of their own; rules about them wait.
    """
    bad = list(bad)
    for rule in RULES:
        if rule.level != level or (rule.moment == "run" and moment == "recipe"):
            continue
        if any(rule.touches(key) for key in bad):
            continue
        for finding in rule.check(recipe, root):
            key: Key = tuple(finding.key.split("."))
            value = value_of(recipe, finding.key)
            if finding.position is not None:
                key, value = (*key, finding.position), value[finding.position]
            place = where(key) or _nearest_place(rule, finding, where)
            if rule.moment == "run" and at_run is not None:
                place = at_run(key)
            elif moment == "run" and (place is None or place.file != PARAMS):
                place = _own_place(rule, where) or place
            yield Problem(
                where=place or "",
                what=f"{dotted(key)} = {show(value)}{finding.beside}",
                allowed=finding.allowed,
                fix=finding.fix,
            )


def _own_place(rule: Rule, where: Callable[[Key], Place | None]) -> Place | None:
    """Where params.yaml sets a key of the rule: that is the user's to change, not the recipe."""
    places = (where(tuple(name.split("."))) for name in rule.keys)
    return next((place for place in places if place and place.file == PARAMS), None)


def _nearest_place(
    rule: Rule, finding: Finding, where: Callable[[Key], Place | None]
) -> Place | None:
    """Where another key of the rule is set: the reported one is at its default."""
    names = [finding.cause] if finding.cause else rule.keys
    places = (where(tuple(name.split("."))) for name in names)
    return next((place for place in places if place), None)
