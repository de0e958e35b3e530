"""How stages are to behave here, which changes no byte: from params.yaml itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lora_recipes.errors import Problem, UserError
from lora_recipes.pipeline import PARAMS
from lora_recipes.recipe.sections.runtime import Runtime
from lora_recipes.recipe.yamlfile import read

FILE = PARAMS
"""Which recipe, which data, and the user's overrides; in the project's folder."""


def runtime(root: Path) -> Runtime:
    """The `runtime` section of params.yaml, with its `${oc.env:…}` filled in.

    Raises:
        UserError: params.yaml is missing, or `validate` would find a mistake in the section.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    source = read(root / FILE, FILE)
    try:
        merged = OmegaConf.create(source.data)
        given: Any = OmegaConf.select(merged, "runtime")
        values = OmegaConf.to_container(given, resolve=True) if given is not None else {}
        assert isinstance(values, dict)
        return Runtime.model_validate({key: v for key, v in values.items() if v is not None})
    except (AssertionError, OmegaConfBaseException, ValidationError) as error:
        raise UserError(
            Problem(
                where=source.where(("runtime",)),
                what="runtime holds a mistake",
                fix="run `lora-recipes validate`, which names it",
            )
        ) from error
