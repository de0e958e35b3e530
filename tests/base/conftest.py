from __future__ import annotations

from pathlib import Path

import pytest

from tests.models import tiny_sdxl


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder of one's own with a tiny SDXL, free to be damaged."""
    return tiny_sdxl(tmp_path / "model")


@pytest.fixture(scope="session")
def shared_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SDXL for reading only."""
    return tiny_sdxl(tmp_path_factory.mktemp("shared") / "model")
