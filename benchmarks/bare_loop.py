"""The same training as a plain loop: no Lightning, no checkpoints, no checks, global randomness.

What a step costs here is what the model, peft and the optimizer cost; a trainer around them can
only add to it.

    python -m benchmarks.bare_loop 200      # in a project folder whose encode stage has run
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from lora_recipes.adapter.parts import Adapted
from lora_recipes.base.load import load_scheduler, load_unet
from lora_recipes.diffusion.noise import alphas_cumprod
from lora_recipes.encode.store import load_moments, load_text, read_index
from lora_recipes.stages.train import read_recipe


def main() -> None:
    """Train for some steps; what comes of it is thrown away."""
    train(Path.cwd(), int(sys.argv[1]))


def train(root: Path, steps: int) -> float:
    """The last step's loss."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    recipe = read_recipe(root)
    settings = recipe.train
    assert settings.optimizer == "adamw"
    assert settings.batch_size == settings.gradient_accumulation == 1
    folder = root / "build" / "encoded"
    index = read_index(folder)
    images = [
        (*load_moments(folder / image.moments), *load_text(folder / image.texts[0]), image.time_ids)
        for image in index.images
    ]
    schedule = load_scheduler(recipe.base, root).config
    abar_T = alphas_cumprod(
        schedule.beta_start, schedule.beta_end, schedule.num_train_timesteps, schedule.beta_schedule
    )
    unet = load_unet(recipe.base, root, torch.float32, torch.device("cpu"))
    adapted = Adapted({"unet": unet})
    adapted.inject(recipe.lora, settings.seed)
    weights = list(adapted.parameters().values())
    optimizer = torch.optim.AdamW(
        weights,
        lr=float(settings.learning_rate),
        betas=(settings.adamw.beta1, settings.adamw.beta2),
        eps=settings.adamw.eps,
        weight_decay=settings.weight_decay,
    )
    loss = torch.zeros(())
    for step in range(steps):
        mean, std, tokens, pooled, time_ids = images[step % len(images)]
        latents = (mean + std * torch.randn_like(mean))[None] * index.latent_scale
        noise = torch.randn_like(latents)
        t_B = torch.randint(0, len(abar_T), (1,))
        abar = abar_T[t_B]
        conditioning = {"text_embeds": pooled[None], "time_ids": torch.tensor([time_ids]).float()}
        predicted = unet(
            abar.sqrt() * latents + (1 - abar).sqrt() * noise,
            t_B,
            encoder_hidden_states=tokens[None],
            added_cond_kwargs=conditioning,
        ).sample
        loss = torch.nn.functional.mse_loss(predicted, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    return float(loss)


if __name__ == "__main__":
    main()
