"""What the tests of the recipe and of the data have, for plans of both."""

from __future__ import annotations

from tests.dataset.conftest import later
from tests.recipe.conftest import project

__all__ = ["later", "project"]
