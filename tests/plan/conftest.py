"""The same project in a temporary folder as the recipe's tests have."""

from __future__ import annotations

from tests.recipe.conftest import project

__all__ = ["project"]
