"""Recipes and params.yaml made of the recipe model's own fields, right, nearly right and wrong."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from hypothesis import strategies as st

from lora_recipes.recipe.fields import every_key
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.sections.params import Params
from tests.fuzz.hostile import damaged, texts, values

HEAD = "schema: 1\nname: {}\nversion: 1\ndescription: a test\n"
PARAMS = "recipe: mine\ndata: data\n"
NAMES = ("mine", "below", "lowest")
"""The recipe that params.yaml names, and what it extends."""

Files = dict[str, str]


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """pydantic's schema of each key that can be written, by dotted name."""
    found: dict[str, dict[str, Any]] = {}
    for model in (Recipe, Params):
        whole = model.model_json_schema()
        _flat(whole, whole["$defs"], "", found)
    return {name: found[name] for name in every_key() if name in found}


def _flat(part: dict[str, Any], defs: dict[str, Any], prefix: str, found: dict[str, Any]) -> None:
    for name, field in part["properties"].items():
        if "$ref" in field:
            inner = defs[field["$ref"].rpartition("/")[2]]
            _flat(inner, defs, f"{prefix}{name}.", found)
        else:
            found[prefix + name] = field


def right(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a key allows, or, of a text with a pattern, that look like it."""
    if "anyOf" in schema:
        return st.one_of([right(one) for one in schema["anyOf"]])
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    make = {"boolean": _booleans, "integer": _integers, "number": _floats, "array": _lists}
    return make.get(schema.get("type", ""), _words)(schema)


def _booleans(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    return st.booleans()


def _integers(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    step = schema.get("multipleOf", 1)
    low, high = schema.get("minimum", 0), schema.get("maximum", 2**63 - 1)
    inside = st.integers(-(-low // step), high // step).map(lambda number: number * step)
    return st.one_of(inside, st.sampled_from((low, high)))


def _floats(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    high = schema.get("maximum", schema.get("exclusiveMaximum", 1))
    return st.one_of(st.floats(low, high), st.sampled_from((low, high)))


def _lists(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if items := schema.get("prefixItems"):
        return st.tuples(*map(right, items)).map(list)
    return st.lists(right(schema["items"]), min_size=schema.get("minItems", 0), max_size=3)


def _words(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(WORDS)


WORDS = (
    "none", "pocket", "base", "rex", "unpinned", "a {trigger}", "a {trigger} {class_word}",
    "sha256:" + "0" * 64, "0" * 40, "held out", "Füße 猫", "${train.optimizer}",
)  # fmt: skip


def near(value: Any) -> Any:
    """A value as another program, country or hurry writes it."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list):
        return value[0] if value else None
    return [value]


@cache
def _right(key: str) -> st.SearchStrategy[Any]:
    return right(schemas()[key])


@cache
def _chosen(keys: tuple[str, ...]) -> st.SearchStrategy[list[tuple[str, int]]]:
    """A few keys, and for each which way its value is made."""
    one = st.tuples(st.sampled_from(keys), st.integers(0, 9))
    return st.lists(one, max_size=3, unique_by=lambda pair: pair[0])


@st.composite
def settings(draw: st.DrawFn, keys: tuple[str, ...]) -> dict[str, Any]:
    """A few keys by dotted name, most of them right."""
    found = {}
    for key, way in draw(_chosen(keys)):
        if way == 1:
            value = draw(values())
        elif way == 2:
            value = draw(texts())
        elif way == 3:
            value = "${" + draw(st.sampled_from(keys)) + "}"
        else:
            value = draw(_right(key))
        found[key] = near(value) if way == 4 else value
    if draw(TWENTY) == 19:
        found[draw(texts())] = draw(values())
    return found


TWENTY = st.integers(0, 19)
TAGS = ("!!str ", "!!int ", "!!map ", "!!set ", "!!binary ", "!x ")


@st.composite
def written(draw: st.DrawFn, keys: dict[str, Any]) -> str:
    """Settings as YAML: in one line or in blocks, with anchors and tags."""
    tree: dict[str, Any] = {}
    for name, value in keys.items():
        *sections, leaf = name.split(".") if name in schemas() else [name]
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = value
    lines = []
    for section, inner in tree.items():
        style = draw(TWENTY)
        shown = _flow(inner)
        if style > 17:
            shown = ("&a ", "*a #")[style - 18] + shown
        elif style > 15:
            shown = TAGS[(style + len(shown)) % len(TAGS)] + shown
        elif style > 13 and isinstance(inner, str) and inner:
            shown = "|\n" + "".join(f"  {line}\n" for line in inner.split("\n"))
        elif style > 6 and isinstance(inner, dict) and inner:
            shown = "".join(f"\n  {_flow(key)}: {_flow(item)}" for key, item in inner.items())
        lines.append(f"{_flow(section)}: {shown}\n")
    return "".join(lines)


def _flow(value: Any) -> str:
    """A value as JSON, most of which is YAML; numbers that JSON lacks as YAML has them."""
    return json.dumps(value).replace("NaN", ".nan").replace("Infinity", ".inf")


@st.composite
def projects(draw: st.DrawFn) -> Files:
    """params.yaml and up to three recipes, each of which extends the next."""
    way = draw(TWENTY)
    names = NAMES[: 1 + (way > 9) + (way > 15)]
    every = tuple(schemas())
    files = {}
    for name, below in zip(names, (*names[1:], ""), strict=True):
        text = HEAD.format(name)
        if below:
            text += f"extends: {name if way == 19 else below}\n"
        elif way == 18:
            text += f"extends: {_flow(draw(texts()))}\n"
        files[f"recipes/{name}.yaml"] = text + draw(written(draw(settings(OF_RECIPES))))
    base = {"base.model": "pocket"} if way % 3 else {}
    files["params.yaml"] = PARAMS + draw(written(base | draw(settings(every))))
    return files


OF_RECIPES = tuple(key for key in schemas() if not key.startswith("runtime."))


SEED = {
    "recipes/mine.yaml": HEAD.format("mine")
    + "extends: below\ntrain:\n  seed: 5\n  snapshots: [0.25, 0.5]\n  optimizer: adamw\n"
    "  adamw: {beta1: 0.9}\nsample:\n  prompts:\n  - a {trigger}, \"x\"\n  seeds: [0, 1]\n",
    "recipes/below.yaml": HEAD.format("below")
    + "lora: &l\n  rank: 8  # small\n  alpha: ${lora.rank}\ndataset: {trigger: rex}\n",
    "params.yaml": PARAMS + "base:\n  model: pocket\nlora:\n  rank: null\ntrain:\n"
    "  learning_rate: 1e-4\n  steps: 'auto'\nruntime:\n  workers: ${oc.decode:${oc.env:NONE,2}}\n",
}  # fmt: skip
"""A project that is right, to be damaged as text."""


@st.composite
def damaged_projects(draw: st.DrawFn) -> Files:
    """A right project of which one file's text was damaged."""
    name = draw(st.sampled_from(tuple(SEED)))
    return {**SEED, name: draw(damaged(SEED[name], SCRAPS))}


SCRAPS = (
    "", " ", "\n", "\n  ", "\t", ":", ": ", "- ", "{", "}", "[", "]", ",", '"', "'", "#", "&a ",
    "*a", "*l", "<<: *l\n", "!!int ", "!!binary ", "---\n", "...\n", "%YAML 1.1\n---\n", "? ",
    "|\n", ">-\n", "null", "~", "${", "}", "\\", "\0", "\ufeff", "\x85", "\u2028", "\x1b[2J",
    "999999999999999999999", "1e999", "0b1", "0o7", "2001-01-01", "rank", "rank: 8\n",
    "extends: mine\n",
    "x: &x [*x]\n", "train: {seed: ${train.seed}}\n", "a: " + "[" * 80, "é", "猫", "=",
)  # fmt: skip
