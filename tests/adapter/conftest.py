"""Models that several tests look at. Those that a test changes are made by the test itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import lora_recipes

PACKAGE = Path(lora_recipes.__file__).parent


@pytest.fixture(scope="session")
def sdxl_unet():
    """SDXL's UNet on the meta device: every module and shape, no weights."""
    from diffusers import UNet2DConditionModel

    config = json.loads((PACKAGE / "base/configs/unet/config.json").read_text())
    with torch.device("meta"):
        return UNet2DConditionModel.from_config(config)


@pytest.fixture(scope="session")
def pocket_unet():
    """The pocket's UNet on the meta device."""
    from diffusers import UNet2DConditionModel

    config = json.loads((PACKAGE / "pocket/model/unet/config.json").read_text())
    with torch.device("meta"):
        return UNet2DConditionModel.from_config(config)
