"""What happened at each step, kept on the device so that no step waits for the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from lora_recipes.errors import Problem, UserError
from lora_recipes.train.data.batches import Batch, Pictures
from lora_recipes.train.data.stream import Sample
from lora_recipes.train.data.turns import Turns

NEVER = -1


class Record(torch.nn.Module):
    """Each step's loss, and the first batch or step whose numbers were not finite.

    S: optimizer steps of the whole training, N: batches of one step.
    """

    losses_S: Tensor
    parts_N: Tensor
    bad_loss: Tensor
    bad_gradient: Tensor

    def __init__(
        self,
        pictures: Pictures,
        turns: Turns,
        add_up: Callable[[Tensor], None] = lambda tensor: None,
    ) -> None:
        """Begin with nothing.

        Args:
            pictures: to name the images behind a number that is not finite.
            turns: which process works on which batch.
            add_up: sums a tensor over all processes, in place.
        """
        super().__init__()
        self.pictures = pictures
        self.turns = turns
        self.stream = stream = turns.stream
        self._add_up = add_up
        self.register_buffer("losses_S", torch.zeros(stream.steps), persistent=False)
        self.register_buffer("parts_N", torch.zeros(stream.accumulation), persistent=False)
        self.register_buffer("bad_loss", torch.tensor(NEVER), persistent=False)
        self.register_buffer("bad_gradient", torch.tensor(NEVER), persistent=False)

    def forward(self, batch: Batch, loss: Tensor) -> None:
        """Note a batch's part of its step's loss. One that fills a round up has none."""
        if batch.number < self.stream.batches:
            accumulation = self.stream.accumulation
            part = loss.detach() * (batch.share / accumulation)
            self.parts_N[batch.number % accumulation] = part

    def end_step(self, step: int) -> None:
        """Add up a step's loss, the mean over its samples, in the order of the stream."""
        self._add_up(self.parts_N)
        total = torch.zeros_like(self.losses_S[0])
        for part in self.parts_N:
            total += part
        self.losses_S[step] = total
        bad_N = ~self.parts_N.isfinite()
        batch = bad_N.to(torch.int8).argmax() + step * self.stream.accumulation
        self.bad_loss = _first(self.bad_loss, bad_N.any(), batch)
        self.parts_N.zero_()

    def add_gradients(self, step: int, gradients: Iterable[Tensor]) -> None:
        """Note whether a step's gradients are finite numbers."""
        norms = torch.stack(torch._foreach_norm(list(gradients)))
        self.bad_gradient = _first(self.bad_gradient, ~norms.isfinite().all(), step)

    def check(self) -> None:
        """Wait for the device and stop the training if anything was not finite.

        Raises:
            UserError: a loss or a gradient was not finite; names the step and the images.
        """
        batch, step = int(self.bad_loss), int(self.bad_gradient)
        if batch != NEVER:
            raise self._stop("loss", self.stream.step_of(batch), self.stream.batch(batch))
        if step != NEVER:
            raise self._stop("gradient", step, self.stream.step_samples(step))

    def losses(self) -> list[float]:
        """The loss of every step so far; 0 for the steps to come."""
        return [float(loss) for loss in self.losses_S.tolist()]

    def _stop(self, what: str, step: int, samples: list[Sample]) -> UserError:
        images = ", ".join(self.pictures.names(samples))
        return UserError(
            Problem(
                what=f"the {what} is not a finite number at step {step + 1} of "
                f"{self.stream.steps}; images: {images}",
                fix="look at these images and at the base model's weights; if both are sound, "
                "lower train.learning_rate or set compute.precision to fp32",
            )
        )


def check_finite(weights: Mapping[str, Tensor], step: int) -> None:
    """Stop before weights that are not finite numbers are written.

    Raises:
        UserError: naming the first such weight.
    """
    for name, weight in weights.items():
        if not bool(weight.isfinite().all()):
            raise UserError(
                Problem(
                    what=f"{name} is not finite after step {step}",
                    fix="lower train.learning_rate or set compute.precision to fp32",
                )
            )


def _first(known: Tensor, happened: Tensor, number: int | Tensor) -> Tensor:
    return torch.where((known == NEVER) & happened, number, known)
