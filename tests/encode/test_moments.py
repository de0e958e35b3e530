from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from lora_recipes.base.load import load_vae
from lora_recipes.encode.moments import encode_file, encode_picture, read_picture
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.base import Base
from tests.models import tiny_sdxl


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> AutoencoderKL:
    folder = tiny_sdxl(tmp_path_factory.mktemp("vae"))
    return load_vae(Base(model=str(folder)), Path(), torch.float32, torch.device("cpu"))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def test_a_picture_reaches_the_vae_as_diffusers_would_send_it(picture: Path) -> None:
    with Image.open(picture) as image:
        expected = VaeImageProcessor(vae_scale_factor=8).preprocess(image)[0]
    assert torch.equal(read_picture(picture), expected)


def test_black_is_minus_one_and_white_is_one(tmp_path: Path) -> None:
    for value, expected in ((0, -1.0), (255, 1.0)):
        Image.new("RGB", (8, 8), (value,) * 3).save(tmp_path / "x.png")
        assert set(read_picture(tmp_path / "x.png").unique().tolist()) == {expected}


def test_moments_are_those_of_the_vaes_posterior(vae: AutoencoderKL, picture: Path) -> None:
    mean, std = encode_picture(vae, read_picture(picture))
    with torch.no_grad():
        posterior = vae.encode(read_picture(picture)[None]).latent_dist
    assert mean.shape == std.shape == (4, 5, 8)
    assert mean.dtype == std.dtype == torch.float32
    assert torch.equal(mean, posterior.mean[0])
    assert torch.equal(std, posterior.std[0])
    assert std.min() > 0
    noise = torch.ones_like(mean)
    torch.testing.assert_close(mean + std * noise, mean + posterior.std[0])


def test_fp16_moments_are_near_those_in_fp32(
    vae: AutoencoderKL, picture: Path, tmp_path: Path
) -> None:
    base = Base(model=str(tiny_sdxl(tmp_path / "model")))
    half = load_vae(base, Path(), torch.float16, torch.device("cpu"))
    for found, expected in zip(
        encode_picture(half, read_picture(picture)),
        encode_picture(vae, read_picture(picture)),
        strict=True,
    ):
        assert found.dtype == torch.float32
        assert not torch.equal(found, expected)
        torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize(
    ("dtype", "fix"),
    [
        (
            torch.float16,
            "set encode.vae_precision to fp32, or base.vae to a VAE made for fp16 "
            "(madebyollin/sdxl-vae-fp16-fix)",
        ),
        (torch.float32, "the VAE's weights are damaged; fetch base.model or base.vae again"),
    ],
)
def test_a_vae_that_overflows_stops_the_run_with_the_pictures_name(
    picture: Path, tmp_path: Path, dtype: torch.dtype, fix: str
) -> None:
    base = Base(model=str(tiny_sdxl(tmp_path / "model")))
    broken = load_vae(base, Path(), dtype, torch.device("cpu"))
    broken.quant_conv.bias.fill_(float("inf"))
    with pytest.raises(UserError) as error:
        encode_file(broken, picture, "photos/x.jpg")
    assert str(error.value) == (
        f"photos/x.jpg: the VAE gives NaN or infinity for this picture\n  fix:     {fix}"
    )
