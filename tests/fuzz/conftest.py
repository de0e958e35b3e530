"""Fixtures of other floors that are used here too."""

from tests.dataset.conftest import later

__all__ = ["later"]
