"""Pictures to the moments of the VAE's posterior, and masks to weights of the same size.

C: channels, H, W: rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from lora_recipes.encode.reuse import Encoded
from lora_recipes.errors import UserError

LATENT = 8
"""Edge of the square of pixels behind one latent pixel, in SDXL's VAE."""

WHITE = 255


def read_picture(path: Path) -> Tensor:
    """[3, H, W] float32 in [-1, 1]: 2 · value / 255 - 1, as diffusers' VaeImageProcessor has it."""
    with Image.open(path) as picture:
        pixels_HWC = np.asarray(picture.convert("RGB"), dtype=np.float32) / 255.0
    return 2.0 * torch.from_numpy(pixels_HWC.transpose(2, 0, 1).copy()) - 1.0


@torch.no_grad()
def encode_picture(vae: AutoencoderKL, picture_CHW: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the VAE's posterior, unscaled.

    One picture per call: batches of 4 differ from single pictures by 1e-6.

    Args:
        picture_CHW: [3, H, W] float32 in [-1, 1]; H and W are multiples of the VAE's factor.

    Returns:
        mean and std, each [4, H / 8, W / 8] float32 on the CPU.

    Source: Kingma & Welling 2013, arXiv:1312.6114; diffusers, DiagonalGaussianDistribution.
    """
    picture_1CHW = picture_CHW[None].to(vae.device, vae.dtype)
    posterior = vae.encode(picture_1CHW).latent_dist
    mean_CHW = posterior.mean[0].float()
    std_CHW = torch.exp(0.5 * posterior.logvar[0].float())
    return mean_CHW.cpu(), std_CHW.cpu()


def read_mask(path: Path) -> Tensor:
    """[1, H / 8, W / 8] float32 in [0, 1]: the mean of the 8 × 8 pixels under each latent pixel.

    Summed in whole numbers, so that it is the same everywhere, and exactly 0 or 1 where all are.

    Raises:
        UserError: the file is missing or damaged.
    """
    with _reading(path), Image.open(path) as picture:
        pixels_HW = np.asarray(picture.convert("L"), dtype=np.int64)
    rows, columns = (edge // LATENT for edge in pixels_HW.shape)
    blocks = pixels_HW.reshape(rows, LATENT, columns, LATENT).sum(axis=(1, 3))
    return torch.from_numpy(blocks)[None].float() / (WHITE * LATENT**2)


def encode_file(vae: AutoencoderKL, path: Path, name: str, flipped: bool = False) -> Encoded:
    """The moments of one prepared picture; `name` is how the user knows it.

    Args:
        flipped: encode the mirrored picture, left to right.

    Raises:
        UserError: the file is missing or damaged, or the VAE gave NaN or infinity.
    """
    with _reading(path):
        picture_CHW = read_picture(path)
    if flipped:
        picture_CHW = picture_CHW.flip(-1)
    mean_CHW, std_CHW = encode_picture(vae, picture_CHW)
    if not (mean_CHW.isfinite().all() and std_CHW.isfinite().all()):
        half = vae.dtype == torch.float16
        raise UserError.of(
            where=name,
            what="the VAE gives NaN or infinity for this picture",
            fix="set encode.vae_precision to fp32, or base.vae to a VAE made for fp16 "
            "(madebyollin/sdxl-vae-fp16-fix)"
            if half
            else "the VAE's weights are damaged; fetch base.model or base.vae again",
        )
    return Encoded({"mean": mean_CHW, "std": std_CHW}, {})


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Pillow has many words for a damaged file
        raise UserError.of(
            where=str(path),
            what="is missing, or is not the picture that the prepare stage wrote",
            fix="run `dvc repro prepare`, which writes it anew",
        ) from error
