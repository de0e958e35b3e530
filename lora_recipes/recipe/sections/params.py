"""What params.yaml says beside its overrides: which recipe, which data, how to behave here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lora_recipes.recipe.sections.kinds import Allowed, Short
from lora_recipes.recipe.sections.runtime import Runtime
from lora_recipes.recipe.sections.section import Section

Plain = Annotated[str, Field(pattern=r"^([^$]|\$+([^{$]|$))+$")]
"""A text that is not empty and takes nothing from other keys."""


class Params(Section):
    """params.yaml without its overrides."""

    recipe: Annotated[
        Plain,
        Field(examples=["pocket-demo"]),
        Allowed("the name of a recipe"),
        Short("recipes/<name>.yaml"),
    ]
    """The recipe: `recipes/<name>.yaml`. Source: this project."""

    data: Annotated[
        Plain,
        Field(examples=["data/demo"]),
        Allowed("the path of the folder with the images"),
        Short("the folder with your images"),
    ]
    """The folder with the images. Source: this project."""

    runtime: Annotated[
        Runtime, Short("how a run behaves on this machine; changes no byte of any output")
    ] = Runtime()
    """How a run behaves on this machine."""
