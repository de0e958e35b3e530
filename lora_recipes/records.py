"""JSON that one stage wrote for another, read as what it was written as, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lora_recipes.errors import UserError
from lora_recipes.files import read_bytes
from lora_recipes.printable import line

EXACT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""For `__pydantic_config__` of a dataclass that is read: nothing more stands in it, no NaN."""

Record = TypeVar("Record")


def read_record(path: Path, kind: type[Record], where: str, fix: str) -> Record:
    """A file's content.

    Args:
        path: of JSON in UTF-8.
        kind: what it holds. Types are taken at their word: true is no number, 1.0 no count.
        where: the file's name in a message.
        fix: the way out.

    Raises:
        UserError: the file is missing, cannot be read, is cut off, or holds something else.
    """
    try:
        adapter: TypeAdapter[Record] = TypeAdapter(kind)
        return adapter.validate_json(read_bytes(path), strict=True)
    except FileNotFoundError as error:
        raise UserError.of(where=where, what="is missing", fix=fix) from error
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise UserError.of(where=where, what=what, fix=fix) from error
    except ValidationError as error:
        raise UserError.of(where=where, what=_told(error), fix=fix) from error


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return "is not JSON: it is damaged, or cut off"
    key = ".".join(map(str, first["loc"]))
    return "is not what the stage writes" + (f": {line(key)}" if key else "")
