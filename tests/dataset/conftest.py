"""Fixtures that several files of this floor use."""

from __future__ import annotations

import time

import pytest

from lora_recipes.dataset import cache


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files written a moment ago count as settled: it is three seconds later for the cache."""
    now = time.time_ns
    monkeypatch.setattr(cache.time, "time_ns", lambda: now() + 3_000_000_000)
