"""The training written out as a plain loop, one sample at a time, to compare the real one with."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor
from transformers.optimization import Adafactor, get_scheduler

from lora_recipes.adapter.parts import Adapted
from lora_recipes.diffusion import draws
from lora_recipes.encode.store import load_moments, load_text, read_index
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.train import Train
from tests.train.project import small_unet


def plain_loop(root: Path, train: Train, samples: int) -> tuple[dict[str, Tensor], list[float]]:
    """The adapter's tensors and each step's loss, by a loop that shares no code with train/."""
    folder = root / "build" / "encoded"
    index = read_index(folder)
    unet = small_unet()
    adapted = Adapted({"unet": unet})
    adapted.inject(Lora(rank=2, alpha=2), train.seed)
    weights = list(adapted.parameters().values())
    optimizer = _optimizer(weights, train)
    window = train.batch_size * train.gradient_accumulation
    schedule = get_scheduler(
        train.scheduler, optimizer, train.warmup_steps, math.ceil(samples / window)
    )
    looks = [image for image in index.images for _ in range(train.repeats)]
    losses = []
    for start in range(0, samples, window):
        positions = range(start, min(start + window, samples))
        optimizer.zero_grad()
        mean = torch.zeros(())
        for k in positions:
            epoch = k // len(looks)
            order = draws.permutation(len(looks), train.seed, "order", epoch)
            image = looks[order[k % len(looks)]]
            mean = mean + sample_loss(unet, folder, image, index, train, (epoch, k)) / len(
                positions
            )
        mean.backward()
        losses.append(float(mean.detach()))
        norm = torch.stack([w.grad.norm() for w in weights]).norm()
        if train.max_grad_norm and norm > train.max_grad_norm:
            for weight in weights:
                weight.grad *= train.max_grad_norm / norm
        optimizer.step()
        schedule.step()
    return adapted.tensors(2), losses


def sample_loss(unet, folder, image, index, train: Train, position) -> Tensor:  # noqa: PLR0917
    """The loss of one sample, whose draws depend on its position alone."""

    def draw(purpose: str, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=draws.generator(train.seed, purpose, *position))

    mean, std = load_moments(folder / image.moments)
    tokens, pooled = load_text(folder / image.texts[0])
    clean = (mean + std * draw("posterior", *mean.shape)) * index.latent_scale
    noise = draw("noise", *mean.shape) + train.noise_offset * draw("offset", 4)[:, None, None]
    stream = draws.generator(train.seed, "timestep", *position)
    timestep = int(torch.randint(1000, (), generator=stream))
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    signal = float((1 - betas)[: timestep + 1].prod())
    noisy = signal**0.5 * clean + (1 - signal) ** 0.5 * noise
    target = noise
    if index.prediction == "v_prediction":
        target = signal**0.5 * noise - (1 - signal) ** 0.5 * clean
    predicted = unet(
        noisy[None],
        torch.tensor([timestep]),
        encoder_hidden_states=tokens[None],
        added_cond_kwargs={
            "text_embeds": pooled[None],
            "time_ids": torch.tensor([image.time_ids], dtype=torch.float32),
        },
    ).sample[0]
    return (predicted - target).square().mean()


def _optimizer(weights: list[torch.nn.Parameter], train: Train) -> torch.optim.Optimizer:
    if train.optimizer == "adafactor":
        return Adafactor(
            weights,
            lr=train.learning_rate,
            scale_parameter=False,
            relative_step=False,
            weight_decay=train.weight_decay,
        )
    return torch.optim.AdamW(
        weights,
        lr=train.learning_rate,
        eps=train.adamw.eps,
        betas=(train.adamw.beta1, train.adamw.beta2),
        weight_decay=train.weight_decay,
    )
