"""Pretrains the pocket's UNet and text encoders on the latents of a frozen VAE encoder.

Shapes: B batch, C 4 latent channels, H and W 16, T 1000 noise levels, L 77 tokens.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pocket_training import build, pictures
from pocket_training.train_vae import cosine_rate, to_pixels

BATCH = 64
PEAK_RATE = 1.5e-3
OFFSET_NOISE = 0.05
SNR_CAP = 5.0
NO_CAPTION_SHARE = 0.1
ODD_SIZE_SHARE = 0.15
EMA_DECAY = 0.999
SNAPSHOT_SECONDS = 240


class Pocket(nn.Module):
    """UNet and both text encoders as one module: one optimizer, one average of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = build.new_unet()
        self.text_1, self.text_2 = build.new_text_encoders()

    def forward(
        self,
        noisy_BCHW: Tensor,
        t_B: Tensor,
        ids_BL: tuple[Tensor, Tensor],
        keep_B: Tensor,
        time_ids_B6: Tensor,
    ) -> Tensor:
        """The predicted noise. Where `keep_B` is 0 the text is replaced by zeros, as SDXL does."""
        first = self.text_1(ids_BL[0], output_hidden_states=True)
        second = self.text_2(ids_BL[1], output_hidden_states=True)
        text = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        return self.unet(
            noisy_BCHW,
            t_B,
            text * keep_B[:, None, None],
            added_cond_kwargs={
                "text_embeds": second.text_embeds * keep_B[:, None],
                "time_ids": time_ids_B6,
            },
        ).sample


@dataclass(frozen=True)
class Data:
    """All training pictures: posterior mean and deviation (scaled latents) and token ids."""

    mean_NCHW: Tensor
    deviation_NCHW: Tensor
    ids_1_NL: Tensor
    ids_2_NL: Tensor
    scaling_factor: float


def load_vae(scratch: Path) -> AutoencoderKL:
    """The trained VAE; frozen."""
    vae = build.new_vae()
    vae.load_state_dict(torch.load(scratch / "vae.pt", weights_only=True)["model"])
    return vae.eval().requires_grad_(False)


def load_data(scratch: Path) -> Data:
    """Encodes the world's pictures once; later calls read the file in `scratch`."""
    images, captions = pictures.world_pictures(scratch)
    file = scratch / "latents.pt"
    if not file.exists():
        torch.save(_encode(load_vae(scratch), images), file)
    moments = torch.load(file, weights_only=True)
    factor = _scaling_factor(moments)
    made = [build.new_tokenizer(scratch / name, pad) for name, pad in build.PADS.items()]
    ids = [torch.from_numpy(np.asarray(t(captions, padding="max_length").input_ids)) for t in made]
    return Data(moments["mean"] * factor, moments["deviation"] * factor, ids[0], ids[1], factor)


def _scaling_factor(moments: dict[str, Tensor]) -> float:
    """What brings the latents to unit deviation: the VAE's `scaling_factor`."""
    return float(1 / moments["mean"].std())


@torch.no_grad()
def _encode(vae: AutoencoderKL, images: np.ndarray) -> dict[str, Tensor]:
    posteriors = [
        vae.encode(to_pixels(images[start : start + 64])).latent_dist
        for start in range(0, len(images), 64)
    ]
    return {
        "mean": torch.cat([p.mean for p in posteriors]),
        "deviation": torch.cat([p.std for p in posteriors]),
    }


def time_ids(count: int, draw: torch.Generator) -> Tensor:
    """[B, 6]: mostly 128 x 128 uncropped, sometimes another original size and crop."""
    usual = torch.tensor([128.0, 128, 0, 0, 128, 128]).repeat(count, 1)
    odd = usual.clone()
    odd[:, :2] = torch.randint(96, 1025, (count, 2), generator=draw).float()
    odd[:, 2:4] = torch.randint(0, 65, (count, 2), generator=draw).float()
    is_odd = torch.rand(count, 1, generator=draw) < ODD_SIZE_SHARE
    return torch.where(is_odd, odd, usual)


def loss_of_step(pocket: Pocket, data: Data, abar_T: Tensor, step: int) -> Tensor:
    """Draw, noise, predict, weigh. All that is random comes from the step's number.

    min(SNR, 5) / SNR weights the squared error of the noise (Hang et al. 2023,
    arXiv:2303.09556, section 3.4).
    """
    draw = torch.Generator().manual_seed(1_000_003 * (step + 1))
    rows = torch.randint(len(data.mean_NCHW), (BATCH,), generator=draw)
    mean, deviation = data.mean_NCHW[rows], data.deviation_NCHW[rows]
    latents = mean + deviation * torch.randn(mean.shape, generator=draw)
    noise = torch.randn(mean.shape, generator=draw)
    noise += OFFSET_NOISE * torch.randn(BATCH, 4, 1, 1, generator=draw)
    # One timestep from each of B equal slices: the same law for each, a steadier loss.
    t_B = ((torch.arange(BATCH) + torch.rand(BATCH, generator=draw)) * 1000 / BATCH).long()
    keep = (torch.rand(BATCH, generator=draw) >= NO_CAPTION_SHARE).float()

    abar = abar_T[t_B][:, None, None, None]
    noisy = abar.sqrt() * latents + (1 - abar).sqrt() * noise
    # The fused attention's bfloat16 backward on CPUs takes as long as all else together.
    with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        predicted = pocket(
            noisy, t_B, (data.ids_1_NL[rows], data.ids_2_NL[rows]), keep, time_ids(BATCH, draw)
        )
    error_B = (predicted.float() - noise).square().mean(dim=(1, 2, 3))
    snr_B = abar_T[t_B] / (1 - abar_T[t_B])
    return (snr_B.clamp(max=SNR_CAP) / snr_B * error_B).mean()


def train(scratch: Path, steps: int) -> None:
    """Trains to `steps`, resuming from the snapshot in `scratch` if there is one."""
    torch.manual_seed(0)
    data = load_data(scratch)
    abar_T = build.new_scheduler().alphas_cumprod
    pocket = Pocket()
    average = copy.deepcopy(pocket).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        pocket.parameters(), lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=0.01
    )
    done = _resume(scratch / "unet.pt", pocket, average, optimizer)
    started = saved = time.monotonic()
    recent = 0.0
    for step in range(done, steps):
        for group in optimizer.param_groups:
            group["lr"] = cosine_rate(step, steps, PEAK_RATE, warmup=200)
        loss = loss_of_step(pocket, data, abar_T, step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(pocket.parameters(), 1.0)
        optimizer.step()
        _update_average(average, pocket, min(EMA_DECAY, (step + 1) / (step + 10)))
        recent = loss.item() if step == done else 0.98 * recent + 0.02 * loss.item()
        if step % 50 == 0:
            spent = time.monotonic() - started
            print(f"unet {step} loss {recent:.4f} {spent:.0f}s", flush=True)
        if time.monotonic() - saved > SNAPSHOT_SECONDS or step + 1 == steps:
            saved = time.monotonic()
            _save(scratch / "unet.pt", pocket, average, optimizer, step + 1)


@torch.no_grad()
def _update_average(average: Pocket, pocket: Pocket, decay: float) -> None:
    old, new = list(average.parameters()), list(pocket.parameters())
    torch._foreach_lerp_(old, new, 1 - decay)


def _resume(file: Path, pocket: Pocket, average: Pocket, optimizer: torch.optim.Optimizer) -> int:
    if not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    pocket.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _save(
    file: Path, pocket: Pocket, average: Pocket, optimizer: torch.optim.Optimizer, step: int
) -> None:
    part = file.with_suffix(".part")
    state = {"model": pocket.state_dict(), "average": average.state_dict(), "step": step}
    torch.save(state | {"optimizer": optimizer.state_dict()}, part)
    part.replace(file)


def export(scratch: Path, folder: Path) -> None:
    """Writes the VAE and the averaged weights of the latest snapshot as a diffusers folder."""
    vae = load_vae(scratch)
    moments = torch.load(scratch / "latents.pt", weights_only=True)
    vae.register_to_config(scaling_factor=round(_scaling_factor(moments), 6))
    pocket = Pocket()
    state = torch.load(scratch / "unet.pt", weights_only=True)
    pocket.load_state_dict(state["average"])
    build.save(folder, vae, pocket.unet, pocket.text_1, pocket.text_2)
