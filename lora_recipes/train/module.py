"""The training of a denoiser, as the paper writes it.

B: samples, C: latent channels, H, W: latent rows and columns, T: timesteps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lora_recipes.diffusion import draws, noise
from lora_recipes.train.data.batches import Batch
from lora_recipes.train.data.transfer import send
from lora_recipes.train.objective import Objective

OnLoss = Callable[[Batch, Tensor], None]
"""What is told each batch's loss, a tensor on the device."""


class Denoiser(torch.nn.Module):
    """SDXL's UNet as a function: float32 in, float32 out, whatever the base computes in."""

    def __init__(self, unet: torch.nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.unet = unet
        self.dtype = dtype

    def forward(
        self, noisy_BCHW: Tensor, t_B: Tensor, tokens_BLD: Tensor, conditioning: dict[str, Tensor]
    ) -> Tensor:
        """[B, C, H, W] the model's answer. time_ids stay float32: bf16 would round 427 to 428."""
        predicted: Tensor = self.unet(
            noisy_BCHW.to(self.dtype),
            t_B,
            encoder_hidden_states=tokens_BLD.to(self.dtype),
            added_cond_kwargs=conditioning,
        ).sample
        return predicted.float()


class Denoising(lightning.LightningModule):
    """Trains whatever of a ready denoiser asks for gradients; knows no files and no settings."""

    alphas_cumprod_T: Tensor

    def __init__(
        self,
        denoiser: torch.nn.Module,
        objective: Objective,
        record: OnLoss,
        optimizer: Callable[[], tuple[Optimizer, LambdaLR | None]] | None = None,
    ) -> None:
        """Combine the parts.

        Args:
            denoiser: predicts from (noisy latents, timesteps, tokens, conditioning).
            objective: what is minimised, and the base model's noise schedule.
            record: is told each batch's loss.
            optimizer: makes the optimizer and its schedule when training begins.
        """
        super().__init__()
        self.denoiser = denoiser
        self.objective = objective
        self.record = record
        self._make_optimizer = optimizer
        self.register_buffer("alphas_cumprod_T", objective.base.alphas_cumprod_T, persistent=False)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Ho et al. 2020, arXiv:2006.11239, algorithm 1, in the latent space of a VAE."""
        objective, base = self.objective, self.objective.base
        draw = self._draws(batch)  # one stream per purpose and sample
        shape = batch.mean_BCHW.shape[1:]

        latents = noise.draw_latents(
            batch.mean_BCHW, batch.std_BCHW, base.latent_scale, draw("posterior", *shape)
        )
        epsilon = objective.noise(draw, shape)
        t_B = self._timesteps(batch)
        abar_B = self.alphas_cumprod_T[t_B]

        noisy = noise.add_noise(latents, epsilon, abar_B)
        predicted = self.denoiser(noisy, t_B, batch.tokens_BLD, batch.conditioning)

        target = epsilon if self._predicts_noise else noise.velocity(latents, epsilon, abar_B)
        error_BCHW = objective.loss(predicted, target, abar_B)
        error_B = objective.mean(error_BCHW, batch.mask_B1HW)
        loss = objective.weigh(error_B, abar_B).mean()

        self.record(batch, loss)
        return loss * batch.weight

    @property
    def _predicts_noise(self) -> bool:
        return self.objective.base.prediction == "epsilon"

    def _draws(self, batch: Batch) -> Callable[..., Tensor]:
        def draw(purpose: str, *shape: int) -> Tensor:
            unit = draws.normal(shape, self.objective.seed, purpose, batch.positions)
            return send(unit, batch.mean_BCHW.device)

        return draw

    def _timesteps(self, batch: Batch) -> Tensor:
        objective, count = self.objective, len(self.alphas_cumprod_T)
        t_B = objective.timesteps(count, objective.seed, batch.positions)
        return send(t_B, batch.mean_BCHW.device)

    def configure_optimizers(self) -> tuple[list[Optimizer], list[dict[str, Any]]]:
        """The optimizer, and what sets its rate after each step, if the recipe sets one."""
        assert self._make_optimizer is not None
        optimizer, schedule = self._make_optimizer()
        every_step = {"scheduler": schedule, "interval": "step"}
        return [optimizer], [every_step] if schedule is not None else []
