"""The whole recipe: a name, a version, and its sections."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.encode import Encode
from lora_recipes.recipe.sections.kinds import Allowed, Name, Short
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.prior import Prior
from lora_recipes.recipe.sections.sample import Sample
from lora_recipes.recipe.sections.section import Section
from lora_recipes.recipe.sections.train import Train

RecipeName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9._-]*$"),
    Allowed("small letters, digits, - and _, like the file without .yaml"),
]


class Recipe(Section):
    """A validated, versioned parameter set: `recipes/<name>.yaml`."""

    model_config = ConfigDict(populate_by_name=True)

    schema_: Annotated[Literal[1], Field(alias="schema", examples=[1])]
    """The version of these keys' meaning. It rises when an old recipe would mean something else.

    Source: this project.
    """

    name: RecipeName
    """The recipe's name, equal to its file's name without `.yaml`.

    Source: this project.
    """

    version: Annotated[int, Field(ge=1, le=1_000_000, examples=[1])]
    """The recipe's own version. Raise it when you change what the recipe trains.

    Higher: newer. Lower: older.
    Source: this project.
    """

    description: Annotated[Name, Field(examples=["what it is for"])]
    """What the recipe is for, where its values are from, and which of them are assumed.

    Source: this project.
    """

    extends: Name = "none"
    """Another recipe, whose values count where this one says nothing, or `none`.

    Source: this project.
    """

    base: Annotated[Base, Short("which model lies under the adapter")] = Base()
    """The frozen model under the adapter."""

    dataset: Annotated[Dataset, Short("which pictures, which words")] = Dataset()
    """Which pictures, and which words go with them."""

    prior: Annotated[Prior, Short("regularization pictures that the base generates")] = Prior()
    """Regularization pictures that the base model generates."""

    prepare: Annotated[Prepare, Short("pictures → pixels")] = Prepare()
    """How pictures become training pixels."""

    encode: Annotated[Encode, Short("pixels → latents")] = Encode()
    """How pictures become latents."""

    lora: Annotated[Lora, Short("the adapter's shape")] = Lora()
    """The shape of the adapter."""

    train: Annotated[Train, Short("how long, how fast")] = Train()
    """How long to train, and how."""

    sample: Annotated[Sample, Short("the pictures that show what was learned")] = Sample()
    """The pictures that show what was learned."""

    compute: Annotated[Compute, Short("where and how precisely; changes bytes")] = Compute()
    """Where and how precisely numbers are computed."""


SECTIONS: tuple[str, ...] = (
    "base",
    "dataset",
    "prior",
    "prepare",
    "encode",
    "lora",
    "train",
    "sample",
    "compute",
)
"""The sections that a recipe holds and params.yaml can override, in the order of the pipeline."""

HEAD: tuple[str, ...] = ("schema", "name", "version", "description", "extends")
"""The keys of a recipe outside the sections. Each file says its own; params.yaml says none."""


def plain(recipe: Recipe) -> dict[str, Any]:
    """The complete recipe as plain values (lists for tuples), without `extends`."""
    return recipe.model_dump(mode="json", by_alias=True, exclude={"extends"})
