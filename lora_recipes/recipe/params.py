"""How stages are to behave here, which changes no byte: from params.yaml itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lora_recipes.command import as_called
from lora_recipes.errors import UserError
from lora_recipes.pipeline import PARAMS
from lora_recipes.recipe.interpolate import interpolate
from lora_recipes.recipe.sections.runtime import Runtime
from lora_recipes.recipe.yamlfile import Source, read


def runtime(root: Path) -> Runtime:
    """The `runtime` section of params.yaml, with its `${oc.env:…}` filled in.

    Raises:
        UserError: params.yaml is missing, or `validate` would find a mistake in the section.
    """
    source = read(root / PARAMS, PARAMS)
    values, unresolved = interpolate(source.data, ("runtime",))
    given: Any = values.get("runtime") or {}
    try:
        if unresolved or not isinstance(given, dict):
            raise _mistake(source)
        return Runtime.model_validate({key: v for key, v in given.items() if v is not None})
    except ValidationError as error:
        raise _mistake(source) from error


def _mistake(source: Source) -> UserError:
    return UserError.of(
        where=source.where(("runtime",)),
        what="runtime holds a mistake",
        fix=f"run `{as_called('validate')}`, which names it",
    )
