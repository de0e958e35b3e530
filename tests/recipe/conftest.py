"""A project in a temporary folder: recipes and params.yaml as text."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lora_recipes.errors import UserError

HEAD = "schema: 1\nname: {name}\nversion: 1\ndescription: a test\n"
"""Four lines; the text of a recipe starts on line 5."""


@dataclass
class Project:
    root: Path

    def recipe(self, text: str = "", name: str = "mine") -> None:
        """Write recipes/<name>.yaml: a head of four lines, then the text."""
        self.file(f"recipes/{name}.yaml", HEAD.format(name=name) + textwrap.dedent(text))

    def params(self, text: str = "", recipe: str = "mine") -> None:
        """Write params.yaml: recipe and data on two lines, then the text."""
        self.file("params.yaml", f"recipe: {recipe}\ndata: data\n" + textwrap.dedent(text))

    def file(self, name: str, text: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with one recipe that says nothing, and params.yaml that overrides nothing."""
    made = Project(tmp_path)
    made.recipe()
    made.params()
    (tmp_path / "data").mkdir()
    return made


@pytest.fixture
def repository() -> Path:
    return Path(__file__).parent.parent.parent


def message(call: Callable[[], object]) -> str:
    """What a user reads when a call fails."""
    with pytest.raises(UserError) as caught:
        call()
    return "\n".join(map(str, caught.value.problems))


def text(block: str) -> str:
    """An indented block of an expected message, without the indentation."""
    return textwrap.dedent(block).strip("\n")
