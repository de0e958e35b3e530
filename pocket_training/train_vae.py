"""Pretrains the pocket's VAE."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pocket_training import pictures, world
from pocket_training.build import new_vae

BATCH = 16
CROP, CROP_SHARE = 64, 0.78
"""The first part of the steps sees crops of that side: four times as many steps a minute."""
PEAK_RATE = 2e-3
SNAPSHOT_SECONDS = 120


def to_pixels(images: np.ndarray) -> Tensor:
    """uint8 [B, H, W, 3] to float [B, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_picture(pixels_CHW: Tensor) -> Image.Image:
    """Floats [3, H, W] in [-1, 1] as a picture."""
    levels = ((pixels_CHW.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).numpy())


def reconstruction_loss(y: Tensor, x: Tensor) -> Tensor:
    """L1 + half the squared error + L1 of the differences between neighbouring pixels."""
    error = y - x
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + 0.5 * error.square().mean() + 0.5 * edges


def cosine_rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Linear warm-up, then half a cosine down to a fiftieth of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    along = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * along)))


def train(scratch: Path, steps: int) -> None:
    """Trains to `steps`, resuming from the snapshot in `scratch` if there is one."""
    torch.manual_seed(0)
    vae = new_vae()
    # At unit variance the noise would drown the means for the first thousand steps.
    nn.init.constant_(vae.quant_conv.bias[4:].detach(), -4.0)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=PEAK_RATE, weight_decay=0, betas=(0.9, 0.99))
    done = _resume(scratch / "vae.pt", vae, optimizer)
    named, _ = pictures.world_pictures(scratch)
    free = pictures.free_pictures(scratch)
    saved = started = time.monotonic()
    for step in range(done, steps):
        rng = np.random.default_rng((7, step))
        x = to_pixels(_batch(rng, named, free))
        if step < CROP_SHARE * steps:
            top, left = rng.integers(0, x.shape[-1] - CROP, size=2)
            x = x[..., top : top + CROP, left : left + CROP].contiguous()
        for group in optimizer.param_groups:
            group["lr"] = cosine_rate(step, steps, PEAK_RATE)
        # The fused attention's bfloat16 backward is slow on CPUs.
        with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            posterior = vae.encode(x).latent_dist
            y = vae.decode(posterior.sample()).sample
        # A light pull to unit size: it keeps the latents smooth without blurring the pictures.
        kl = posterior.kl().mean() / x[0].numel()
        loss = reconstruction_loss(y.float(), x) + 3e-3 * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0:
            spent = time.monotonic() - started
            print(f"vae {step} loss {loss.item():.4f} kl {kl.item():.3f} {spent:.0f}s", flush=True)
        if time.monotonic() - saved > SNAPSHOT_SECONDS or step + 1 == steps:
            saved = time.monotonic()
            _save(scratch / "vae.pt", vae, optimizer, step + 1)
            _show(scratch / "vae.png", vae)


def _batch(rng: np.random.Generator, named: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Half captioned world, half anything; mirrored at random."""
    half = BATCH // 2
    first = named[np.sort(rng.integers(len(named), size=half))]
    second = free[np.sort(rng.integers(len(free), size=half))]
    both = np.concatenate([first, second])
    return both[:, :, ::-1] if rng.integers(2) else both


def _resume(file: Path, model: AutoencoderKL, optimizer: torch.optim.Optimizer) -> int:
    if not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _save(file: Path, model: AutoencoderKL, optimizer: torch.optim.Optimizer, step: int) -> None:
    part = file.with_suffix(".part")
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, part
    )
    part.replace(file)


@torch.no_grad()
def _show(file: Path, vae: AutoencoderKL) -> None:
    """Eight held-out originals above their reconstructions."""
    seeds = range(pictures.HELD_OUT, pictures.HELD_OUT + 4)
    shown = [world.draw(s)[0] for s in seeds] + [pictures.draw_free(s) for s in seeds]
    x = to_pixels(np.stack([np.asarray(image) for image in shown]))
    y = vae.decode(vae.encode(x).latent_dist.mode()).sample
    pictures.contact_sheet([*shown, *map(to_picture, y)]).save(file)
