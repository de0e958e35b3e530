"""A project in a temporary folder, as in the tests of recipes."""

from tests.recipe.conftest import project

__all__ = ["project"]
