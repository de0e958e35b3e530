"""The training written out as a plain loop, one sample at a time, to compare the real one with."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers.optimization import Adafactor, get_scheduler

from lora_recipes.adapter.parts import Adapted
from lora_recipes.diffusion import draws
from lora_recipes.encode.store import load_mask, load_moments, load_text, read_index
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
    looks = [image for image in index.images for _ in range(train.repeats)]
    seen = []
    for k in range(samples):
        order = draws.permutation(len(looks), train.seed, "order", k // len(looks))
        seen.append(looks[order[k % len(looks)]])
    windows = _windows([image.size for image in seen], train)
    schedule = get_scheduler(train.scheduler, optimizer, train.warmup_steps, len(windows))
    losses = []
    for positions in windows:
        optimizer.zero_grad()
        mean = torch.zeros(())
        for k in positions:
            place = (k // len(looks), k)
            mean = mean + sample_loss(unet, folder, seen[k], index, train, place) / len(positions)
        mean.backward()
        losses.append(float(mean.detach()))
        norm = torch.stack([w.grad.norm() for w in weights]).norm()
        if train.max_grad_norm and norm > train.max_grad_norm:
            for weight in weights:
                weight.grad *= train.max_grad_norm / norm
        optimizer.step()
        schedule.step()
    return adapted.tensors(2), losses


def _windows(shapes: list[tuple[int, int]], train: Train) -> list[list[int]]:
    """The samples of each optimizer step, where a batch holds one shape."""
    batches, waiting = [], {shape: [] for shape in sorted(set(shapes))}
    for k, shape in enumerate(shapes):
        waiting[shape].append(k)
        if len(waiting[shape]) == train.batch_size:
            batches.append(waiting[shape])
            waiting[shape] = []
    batches += [left for left in waiting.values() if left]
    n = train.gradient_accumulation
    windows = (batches[start : start + n] for start in range(0, len(batches), n))
    return [[k for batch in window for k in batch] for window in windows]


def sample_loss(unet, folder, image, index, train: Train, position) -> Tensor:  # noqa: PLR0917
    """The loss of one sample, whose draws depend on its position alone."""

    def draw(purpose: str, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=draws.generator(train.seed, purpose, *position))

    time_ids, mask = image.time_ids, image.mask
    moments = image.moments
    flip = draws.generator(train.seed, "flip", *position)
    if image.flipped and torch.rand((), generator=flip) < 0.5:
        moments, mask = image.flipped, image.flipped_mask
        time_ids = (*time_ids[:3], image.flipped_left, *time_ids[4:])
    mean, std = load_moments(folder / moments)
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
            "time_ids": torch.tensor([time_ids], dtype=torch.float32),
        },
    ).sample[0]
    error = (predicted - target).square()
    if not mask:
        return error.mean()
    outside = train.masked_loss.unmasked_weight
    weight = load_mask(folder / mask) * (1 - outside) + outside
    summed = (weight * error).sum() / len(error)
    return summed / (weight.sum() if train.masked_loss.normalize else weight.numel())


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
